//! A directory whose files are reached through its handle, without following links.

use core::hash::{BuildHasher, Hasher};
use std::ffi::{OsStr, OsString};
use std::hash::RandomState;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Component, Path};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, DirBuilder, File, Metadata, OpenOptions, Permissions};
#[cfg(unix)]
use cap_std::fs::{DirBuilderExt, OpenOptionsExt};

/// A directory, open.
#[derive(Debug)]
pub(super) struct Folder {
    dir: Dir,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub(super) enum Fault {
    /// A part of the path is a symbolic link.
    Link,
    /// It is not a regular file.
    NotFile,
    /// It has this many bytes, more than allowed.
    TooLarge(u64),
    NotText,
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Fault {
    #[cfg(feature = "memory")]
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
    }
}

/// How files are created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Only the owner reads and writes them.
    Private,
    /// As the process's umask says.
    #[cfg(any(feature = "text-editor", feature = "agent-toolset"))]
    Default,
}

/// What happens to a file that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OverwritePolicy {
    Keep,
    Replace,
}

impl Folder {
    /// Opens a directory.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { dir: Dir::open_ambient_dir(path, cap_std::ambient_authority())? })
    }

    /// Takes an open directory.
    #[cfg(feature = "memory")]
    pub(super) const fn of(dir: Dir) -> Self {
        Self { dir }
    }

    pub(super) const fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Opens the directory that contains `path`, and returns it with the last component. Follows no
    /// link. With `create`, creates the directories that are missing.
    fn parent(&self, path: &Path, create: Option<Access>) -> Result<(Dir, OsString), Fault> {
        let mut dir = self.dir.try_clone()?;
        let mut parts = path.components().filter_map(|part| match part {
            Component::CurDir => None,
            Component::Normal(name) => Some(Ok(name)),
            _ => Some(Err(io::Error::from(ErrorKind::InvalidInput))),
        });
        let Some(mut last) = parts.next().transpose()? else {
            return Ok((dir, ".".into()));
        };
        for name in parts {
            dir = enter(&dir, last, create)?;
            last = name?;
        }
        Ok((dir, last.to_owned()))
    }

    /// Returns what is known about a file, a directory or a link.
    pub(super) fn metadata(&self, path: &Path) -> Result<Metadata, Fault> {
        let (dir, name) = self.parent(path, None)?;
        Ok(dir.symlink_metadata(name)?)
    }

    /// Opens a directory.
    pub(super) fn directory(&self, path: &Path) -> Result<Dir, Fault> {
        let (dir, name) = self.parent(path, None)?;
        if name == "." { Ok(dir) } else { enter(&dir, &name, None) }
    }

    /// Opens a regular file for reading.
    pub(super) fn file(&self, path: &Path) -> Result<File, Fault> {
        let (dir, name) = self.parent(path, None)?;
        open_file(&dir, &name)
    }

    /// Reads a regular file of at most `limit` bytes.
    pub(super) fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, Fault> {
        let file = self.file(path)?;
        let size = file.metadata()?.len();
        if size > limit {
            return Err(Fault::TooLarge(size));
        }
        let mut bytes = Vec::new();
        // The file may grow in the meantime.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if read > limit { Err(Fault::TooLarge(read)) } else { Ok(bytes) }
    }

    /// Reads a regular file of UTF-8 text.
    pub(super) fn read_text(&self, path: &Path, limit: u64) -> Result<String, Fault> {
        String::from_utf8(self.read(path, limit)?).map_err(|_| Fault::NotText)
    }

    /// Writes a file as a whole, and creates the directories above it.
    pub(super) fn write(
        &self,
        path: &Path,
        bytes: &[u8],
        access: Access,
        existing: OverwritePolicy,
    ) -> Result<(), Fault> {
        let (dir, name) = self.parent(path, Some(access))?;
        let known = match dir.symlink_metadata(&name) {
            Ok(known) if existing == OverwritePolicy::Replace && known.is_file() => Some(known),
            Ok(known) if known.is_symlink() => return Err(Fault::Link),
            Ok(_) if existing == OverwritePolicy::Keep => {
                return Err(io::Error::from(ErrorKind::AlreadyExists).into());
            }
            Ok(_) => return Err(Fault::NotFile),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let keep = known.map(|known| known.permissions());
        let new = TempFile::write(&dir, bytes, access, keep)?;
        new.place(&name, existing)?;
        sync(&dir)
    }

    /// Deletes a file, or a directory with everything in it. A link is deleted itself.
    #[cfg(feature = "memory")]
    pub(super) fn delete(&self, path: &Path) -> Result<(), Fault> {
        let (dir, name) = self.parent(path, None)?;
        let kind = dir.symlink_metadata(&name)?;
        if kind.is_dir() {
            dir.remove_dir_all(&name)?;
        } else {
            dir.remove_file_or_symlink(&name)?;
        }
        sync(&dir)
    }

    /// Renames a file or a directory. Fails if `to` exists.
    #[cfg(feature = "memory")]
    pub(super) fn rename(&self, from: &Path, to: &Path, access: Access) -> Result<(), Fault> {
        let (source, old) = self.parent(from, None)?;
        let kind = source.symlink_metadata(&old)?;
        if kind.is_symlink() {
            return Err(Fault::Link);
        }
        let (target, new) = self.parent(to, Some(access))?;
        if target.symlink_metadata(&new).is_ok() {
            return Err(io::Error::from(ErrorKind::AlreadyExists).into());
        }
        // A link does not replace a file that appeared in the meantime, but a rename would.
        if kind.is_file() {
            match source.hard_link(&old, &target, &new) {
                Ok(()) => source.remove_file(&old)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error.into()),
                // A file system without hard links.
                Err(_) => source.rename(&old, &target, &new)?,
            }
        } else {
            source.rename(&old, &target, &new)?;
        }
        sync(&target)?;
        sync(&source)
    }
}

/// Opens a regular file for reading, without following a link and without waiting for a pipe.
pub(super) fn open_file(dir: &Dir, name: &OsStr) -> Result<File, Fault> {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No).nonblock(true);
    // Opening a device can have effects, so look first. The look below is the one that counts.
    let kind = dir.symlink_metadata(name)?;
    if kind.is_symlink() {
        return Err(Fault::Link);
    }
    if !kind.is_file() {
        return Err(Fault::NotFile);
    }
    let file = dir.open_with(name, &options)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(Fault::NotFile) }
}

/// Opens a directory in `dir`. With `create`, creates it if it is missing.
fn enter(dir: &Dir, name: &OsStr, create: Option<Access>) -> Result<Dir, Fault> {
    let error = match dir.open_dir_nofollow(name) {
        Ok(inner) => return Ok(inner),
        Err(error) => error,
    };
    if let (ErrorKind::NotFound, Some(access)) = (error.kind(), create) {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        if access == Access::Private {
            builder.mode(0o700);
        }
        let _ = (access, &mut builder);
        match dir.create_dir_with(name, &builder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
            _ => return Ok(dir.open_dir_nofollow(name)?),
        }
    }
    if dir.symlink_metadata(name).is_ok_and(|found| found.is_symlink()) {
        return Err(Fault::Link);
    }
    Err(error.into())
}

/// Writes the entries of a directory to the disk.
fn sync(dir: &Dir) -> Result<(), Fault> {
    #[cfg(unix)]
    dir.open(".")?.sync_all()?;
    let _ = dir;
    Ok(())
}

/// A new file that has no name of its own yet. It is removed if it does not get one.
struct TempFile<'d> {
    dir: &'d Dir,
    name: String,
    placed: bool,
}

impl<'d> TempFile<'d> {
    fn write(
        dir: &'d Dir,
        bytes: &[u8],
        access: Access,
        keep: Option<Permissions>,
    ) -> Result<Self, Fault> {
        let random = RandomState::new().build_hasher().finish();
        let name = format!(".tmp-{}-{random:016x}", std::process::id());
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).follow(FollowSymlinks::No);
        #[cfg(unix)]
        if access == Access::Private {
            options.mode(0o600);
        }
        let _ = access;
        let mut file = dir.open_with(&name, &options)?;
        let unfinished = Self { dir, name, placed: false };
        if let Some(permissions) = keep {
            file.set_permissions(permissions)?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(unfinished)
    }

    fn place(mut self, name: &OsStr, existing: OverwritePolicy) -> Result<(), Fault> {
        if existing == OverwritePolicy::Keep {
            match self.dir.hard_link(&self.name, self.dir, name) {
                // The other name is removed with this value.
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error.into()),
                // A file system without hard links.
                Err(_) => {}
            }
        }
        self.dir.rename(&self.name, self.dir, name)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for TempFile<'_> {
    fn drop(&mut self) {
        if !self.placed {
            let _gone = self.dir.remove_file(&self.name);
        }
    }
}
