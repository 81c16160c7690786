//! The one error type of the engine: a kind, a sentence, pairs of context, and what caused it.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong, as something a caller can branch on. Each kind maps to one Python class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option, size or name that no engine could accept.
    InvalidArgument,
    /// A key that is empty or longer than [`crate::MAX_KEY_BYTES`].
    InvalidKey,
    /// A value, batch or transaction larger than the arena can hold.
    TooLarge,
    /// Memory is full and everything in it is pinned.
    MemoryFull,
    /// The disk tier reached `disk_bytes`, or the file system has no space left.
    DiskFull,
    /// The directory cannot be written to.
    ReadOnly,
    /// The operating system refused an operation.
    Io,
    /// Bytes on disk or in memory do not match their checksum.
    Corrupt,
    /// Another engine holds the directory or the socket.
    Locked,
    /// A file or peer speaks a format version this build does not know.
    UnsupportedFormat,
    /// The engine, cache or connection is closed.
    Closed,
    /// The change feed no longer holds what was asked for; take a snapshot first.
    SnapshotNeeded,
    /// A lease that was released, expired, or never existed.
    LeaseLost,
    /// A namespace reached its quota and nothing in it may be evicted.
    QuotaExceeded,
    /// A frame that is malformed, oversized or out of order.
    Protocol,
    /// The other end of a connection went away.
    Disconnected,
    /// A running sidecar has other settings than those asked for.
    SettingsDiffer,
    /// A wait ended before what was waited for happened.
    TimedOut,
}

impl ErrorKind {
    /// The stable code of the kind, the same in every release and language.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::InvalidKey => "INVALID_KEY",
            Self::TooLarge => "TOO_LARGE",
            Self::MemoryFull => "MEMORY_FULL",
            Self::DiskFull => "DISK_FULL",
            Self::ReadOnly => "READ_ONLY",
            Self::Io => "IO",
            Self::Corrupt => "CORRUPT",
            Self::Locked => "LOCKED",
            Self::UnsupportedFormat => "UNSUPPORTED_FORMAT",
            Self::Closed => "CLOSED",
            Self::SnapshotNeeded => "SNAPSHOT_NEEDED",
            Self::LeaseLost => "LEASE_LOST",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::Protocol => "PROTOCOL",
            Self::Disconnected => "DISCONNECTED",
            Self::SettingsDiffer => "SETTINGS_DIFFER",
            Self::TimedOut => "TIMED_OUT",
        }
    }

    /// Every kind, in declaration order.
    pub const ALL: [Self; 18] = [
        Self::InvalidArgument,
        Self::InvalidKey,
        Self::TooLarge,
        Self::MemoryFull,
        Self::DiskFull,
        Self::ReadOnly,
        Self::Io,
        Self::Corrupt,
        Self::Locked,
        Self::UnsupportedFormat,
        Self::Closed,
        Self::SnapshotNeeded,
        Self::LeaseLost,
        Self::QuotaExceeded,
        Self::Protocol,
        Self::Disconnected,
        Self::SettingsDiffer,
        Self::TimedOut,
    ];

    /// The kind with this stable code, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// An error of the engine. One pointer wide, so that results stay cheap.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of every fallible operation of the engine.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` that says `message`.
    #[must_use]
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), context: Vec::new(), source: None }))
    }

    /// An [`ErrorKind::InvalidArgument`].
    #[must_use]
    #[cold]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// An operating-system error met while doing `action`; a full or read-only disk gets its own kind.
    #[must_use]
    #[cold]
    pub fn io(action: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Os;
        let kind = match source.kind() {
            Os::StorageFull | Os::QuotaExceeded | Os::FileTooLarge => ErrorKind::DiskFull,
            Os::PermissionDenied | Os::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            _ => ErrorKind::Io,
        };
        Self::new(kind, action).caused_by(source)
    }

    /// The same error with one more pair of context.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence, without context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The pairs of context, in the order they were added.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// The value of the first pair of context called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.context.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (i, (name, value)) in self.0.context.iter().enumerate() {
            f.write_str(if i == 0 { " (" } else { ", " })?;
            write!(f, "{name}={value}")?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}: {self})", self.0.kind.code())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_sentence_its_context_and_its_cause() {
        let error =
            Error::io("cannot append to the log", std::io::Error::from_raw_os_error(libc::ENOSPC)).with("segment", 7);
        assert_eq!(error.kind(), ErrorKind::DiskFull);
        assert_eq!(error.get("segment"), Some("7"));
        assert!(error.to_string().starts_with("cannot append to the log (segment=7): "));
    }

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_code(kind.code()), Some(kind));
        }
    }
}
