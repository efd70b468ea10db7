//! Tools that the API defines and the client runs.
//!
//! | Feature | Tool | What it does |
//! |---|---|---|
//! | `memory` | `MemoryTool` | `memory_20250818`: files below `/memories` that outlive the conversation |
//!
//! The API knows the input schemas. The definitions contain only a `type` and a `name`; the tools
//! still check every input before they use it.
//!
//! **Confinement.** The tools that work on files open one directory and reach every file through
//! its handle, one path component at a time, without following a link. A path that leaves the
//! directory by `..`, as an absolute path or through a link is refused, also if somebody replaces a
//! directory with a link at the same moment. Special files (pipes, sockets, devices) are never
//! opened for reading. Hard links and mounts inside the directory are part of it.
//!
//! **Writing** is atomic: a new file with the whole content, synchronized to the disk, takes the
//! place of the old one.

mod arguments;
mod folder;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "memory")]
mod memory_directory;
#[cfg(feature = "memory")]
mod memory_path;
mod text;

#[cfg(feature = "memory")]
pub use memory::{Memory, MemoryTool};
#[cfg(feature = "memory")]
pub use memory_directory::DirectoryMemory;
#[cfg(feature = "memory")]
pub use memory_path::MemoryPath;
