//! The request writer: writes the body of a request up to its messages, for every front end.
//!
//! Members come from typed fields ([`Config`]) or from JSON. The rules for `container` and for
//! requests with a compaction are implemented only once, here and in
//! [`compaction`](super::compaction). The writer copies nothing: it passes slices to the caller,
//! which stores or joins them.

use heapless::Vec;

use super::Config;
use super::compaction::ServerCompaction;
use super::thread::{KEPT_BY_THREAD, ThreadContinuation};
use crate::error::{Capacity, CapacityKind};
use crate::history::{breakpoints_of_member, is_marked};
use crate::json::{Decimal, Kind, Object, Text, Value};
use crate::tool::Toolbox;

/// The maximum number of tools in a request whose body consists of slices. The slices are stored in
/// the driver's future while it sends the request.
pub(crate) const MAX_TOOLS: usize = 24;
/// The maximum number of slices in a body before the conversation: those of the configuration, and
/// two per tool.
const MAX_PIECES: usize = 16 + 2 * MAX_TOOLS;

/// The part of a request's body that precedes its messages.
///
/// A [`Driver`](crate::drive::Driver) creates one from its [`Config`]. A front end that stores
/// parameters as JSON creates one with [`from_members`](Self::from_members), lets the run add its
/// own values ([`Run::complete`](crate::run::Run::complete)), and writes it.
#[derive(Clone, Copy, Debug)]
pub struct Front<'a> {
    typed: Option<ConfigMembers<'a>>,
    members: &'a str,
    stream: bool,
    container: Option<&'a str>,
    compaction: &'a str,
    server_compaction: Option<ServerCompaction>,
    continuation: Option<ThreadContinuation>,
}

/// The members for which a [`Config`] has fields.
#[derive(Clone, Copy, Debug)]
struct ConfigMembers<'a> {
    model: &'a str,
    max_tokens: &'a Decimal,
    system: Option<&'a str>,
}

impl<'a> Front<'a> {
    /// Creates a front from the members of `config`. `max_tokens` must contain the digits of
    /// [`Config::max_tokens`].
    pub const fn new(config: &Config<'a>, max_tokens: &'a Decimal) -> Self {
        let typed = ConfigMembers { model: config.model, max_tokens, system: config.system };
        Self {
            typed: Some(typed),
            // If `params` is only white space, write nothing: a comma would follow it.
            members: config.params.trim_ascii(),
            stream: config.stream,
            container: None,
            compaction: config.compaction,
            server_compaction: None,
            continuation: None,
        }
    }

    /// Creates a front from JSON members without braces, such as `"model":"m","max_tokens":512`.
    /// They must be valid, and none may be one that the run writes itself: `messages`, `stream` and
    /// `tools`. `compaction` is the value of the member `compaction` in a request that asks the
    /// server to compact.
    pub const fn from_members(members: &'a str, stream: bool, compaction: &'a str) -> Self {
        Self {
            typed: None,
            members,
            stream,
            container: None,
            compaction,
            server_compaction: None,
            continuation: None,
        }
    }

    /// Adds the values of a run: the container that a reply named, and the rules for a compaction
    /// if the request asks for one ([`Run::compaction_rules`](crate::run::Run::compaction_rules)).
    /// [`Run::complete`](crate::run::Run::complete) does the same, but borrows the run.
    pub const fn with(
        mut self,
        container: Option<&'a str>,
        server_compaction: Option<ServerCompaction>,
    ) -> Self {
        self.container = container;
        self.server_compaction = server_compaction;
        self
    }

    /// Omits the members that the server takes from a message thread, if the request continues one
    /// ([`Run::thread_continuation`](crate::run::Run::thread_continuation)).
    /// [`Run::complete`](crate::run::Run::complete) does the same.
    pub const fn continuing(mut self, continuation: Option<ThreadContinuation>) -> Self {
        self.continuation = continuation;
        self
    }

    /// Passes the members that a message thread keeps to `see`, except the tools that are not among
    /// the caller's members.
    pub(crate) fn see_kept_by_thread(self, see: &mut dyn FnMut(&[u8])) {
        see(self.typed.and_then(|typed| typed.system).unwrap_or_default().as_bytes());
        for (name, value) in Object::inside(self.members.as_bytes()) {
            if KEPT_BY_THREAD.iter().any(|kept| name == **kept) {
                see(name.raw_bytes());
                see(value.raw());
            }
        }
    }

    /// Returns the number of cache breakpoints in a request with this front and the definitions in
    /// `tools`. The caller's container and what a compaction leaves out have none.
    pub(crate) fn breakpoints<'t>(&self, tools: impl Iterator<Item = &'t str>) -> usize {
        let is_written = |name: &Text<'_>| {
            self.continuation.is_none() || !KEPT_BY_THREAD.iter().any(|kept| *name == **kept)
        };
        let mut count = 0;
        for (name, value) in Object::inside(self.members.as_bytes()) {
            if is_written(&name) {
                count += breakpoints_of_member(name, value);
            }
        }
        if self.continuation.is_none() {
            count += tools
                .filter_map(|tool| Value::whole(tool.as_bytes()))
                .map(is_marked)
                .sum::<usize>();
        }
        count
    }

    /// Joins the front to one text, with the definitions in `tools` as JSON. If `tools` is `None`,
    /// the body has no member `tools`.
    #[cfg(feature = "alloc")]
    pub fn to_vec(self, tools: Option<impl Iterator<Item = &'a str>>) -> alloc::vec::Vec<u8> {
        // Enough for the parameters and a tool.
        let mut joined = alloc::vec::Vec::with_capacity(512);
        self.write(tools, &mut |piece| joined.extend_from_slice(piece));
        joined
    }

    /// Writes the front slice by slice. Returns the number of tools.
    #[inline]
    fn write(
        self,
        tools: Option<impl Iterator<Item = &'a str>>,
        push: &mut impl FnMut(&'a [u8]),
    ) -> usize {
        match self.typed {
            Some(ConfigMembers { model, max_tokens, system }) => {
                push(b"{\"model\":\"");
                push(model.as_bytes());
                push(b"\",\"max_tokens\":");
                push(max_tokens.as_bytes());
                if self.stream {
                    push(b",\"stream\":true");
                }
                if let Some(system) = system.filter(|_| self.continuation.is_none()) {
                    push(b",\"system\":\"");
                    push(system.as_bytes());
                    push(b"\"");
                }
            }
            None => push(b"{"),
        }
        let mut has_members = self.typed.is_some();
        let compaction = self.server_compaction.map(|rules| rules.write);
        if let Some(write) = compaction.or_else(|| self.continuation.map(|rules| rules.write)) {
            has_members |= write(self.members, self.container, has_members, push);
        } else if !self.members.is_empty() {
            if has_members {
                push(b",");
            }
            has_members = true;
            write_members(self.members, self.container, push);
        }
        // The text begins with a comma, which is left out if no member precedes it.
        let mut member = |text: &'a [u8], push: &mut dyn FnMut(&'a [u8])| {
            push(text.get(usize::from(!has_members)..).unwrap_or_default());
            has_members = true;
        };
        if let Some(id) = self.container.filter(|_| container_in(self.members).is_none()) {
            member(b",\"container\":\"", push);
            push(id.as_bytes());
            push(b"\"");
        }
        if self.server_compaction.is_some() {
            member(b",\"compaction\":", push);
            push(self.compaction.as_bytes());
        }
        if self.stream && self.typed.is_none() {
            member(b",\"stream\":true", push);
        }
        let mut count = 0_usize;
        if let Some(tools) = tools.filter(|_| self.continuation.is_none()) {
            member(b",\"tools\":[", push);
            for tool in tools {
                if count > 0 {
                    push(b",");
                }
                push(tool.as_bytes());
                count += 1;
            }
            push(b"]");
        }
        member(b",\"messages\":[", push);
        count
    }
}

/// Writes the members unchanged, except that `container` is inserted into the caller's member of
/// that name.
fn write_members<'a>(
    members: &'a str,
    container: Option<&'a str>,
    push: &mut impl FnMut(&'a [u8]),
) {
    let whole = members.as_bytes();
    let found = container.zip(container_in(members)).and_then(|(id, value)| {
        let start = value.offset_in(whole)?;
        Some((id, value, whole.get(..start)?, whole.get(start + value.raw().len()..)?))
    });
    let Some((id, value, before, after)) = found else { return push(whole) };
    push(before);
    write_container(value, id, push);
    push(after);
}

fn container_in(members: &str) -> Option<Value<'_>> {
    Object::inside(members.as_bytes())
        .find(|(name, _)| *name == *"container")
        .map(|(_, value)| value)
}

/// Writes the caller's `container`. An id in it stays unchanged. An object without an id gets the
/// id from the reply, and `null` is replaced by this id.
pub(super) fn write_container<'a>(
    value: Value<'a>,
    id: &'a str,
    push: &mut (impl FnMut(&'a [u8]) + ?Sized),
) {
    let whole = value.raw();
    let own = value.member("id");
    let (start, end, before, after): (usize, usize, &[u8], &[u8]) = match (value.kind(), own) {
        (Kind::Null, _) => (0, whole.len(), b"\"", b"\""),
        (Kind::Object, Some(null)) if null.is_null() => {
            let start = null.offset_in(whole).unwrap_or_default();
            (start, start + null.raw().len(), b"\"", b"\"")
        }
        (Kind::Object, None) if value.members().next().is_none() => (1, 1, b"\"id\":\"", b"\""),
        (Kind::Object, None) => (1, 1, b"\"id\":\"", b"\","),
        _ => return push(whole),
    };
    push(whole.get(..start).unwrap_or_default());
    push(before);
    push(id.as_bytes());
    push(after);
    push(whole.get(end..).unwrap_or_default());
}

/// Returns the definitions of the tools that a request lists, as JSON.
pub(crate) fn listed<T: Toolbox + ?Sized>(tools: &T) -> impl Iterator<Item = &str> {
    (0..tools.count()).filter_map(|i| tools.definition(i)?.listed_json())
}

/// The slices of a [`Front`] and of the definitions of its tools.
#[derive(Debug)]
pub struct Pieces<'a> {
    list: Vec<&'a [u8], MAX_PIECES>,
}

impl<'a> Pieces<'a> {
    /// Creates an empty list of slices.
    pub const fn empty() -> Self {
        Self { list: Vec::new() }
    }

    /// Writes `front` in place, so that this value, which is half a kilobyte, is not moved.
    ///
    /// # Errors
    /// Returns `Capacity` with [`CapacityKind::Tools`] if there are more than [`MAX_TOOLS`] tools.
    pub fn fill<T: Toolbox + ?Sized>(
        &mut self,
        front: Front<'a>,
        tools: &'a T,
    ) -> Result<(), Capacity> {
        let is_listed = |i| tools.definition(i).is_none_or(|tool| !tool.is_unlisted);
        let listed = (0..tools.count()).any(is_listed).then(|| listed(tools));
        let mut is_full = false;
        let count = front.write(listed, &mut |piece| is_full |= self.list.push(piece).is_err());
        if is_full || count > MAX_TOOLS {
            return Err(Capacity { what: CapacityKind::Tools, needed: count, free: MAX_TOOLS });
        }
        Ok(())
    }

    /// Returns the slices in order.
    pub fn as_slices(&self) -> &[&'a [u8]] {
        &self.list
    }
}
