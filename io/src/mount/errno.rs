//! What an application is told, as an errno.
//!
//! Law: every [`FsError`] has its errno here and nowhere else.

use fuser::Errno;
use tandem_core::error::FsError;

/// Returns the errno of an error.
pub fn errno(error: FsError) -> Errno {
    match error {
        FsError::NoEntry => Errno::ENOENT,
        FsError::NotDirectory => Errno::ENOTDIR,
        FsError::IsDirectory => Errno::EISDIR,
        FsError::ReadOnly => Errno::EROFS,
        FsError::Io => Errno::EIO,
        FsError::BadHandle => Errno::EBADF,
        FsError::Stale => Errno::ESTALE,
        FsError::Invalid => Errno::EINVAL,
        FsError::NoAttribute => Errno::ENODATA,
        FsError::NameTooLong => Errno::ENAMETOOLONG,
        FsError::TooManyHandles => Errno::EMFILE,
        FsError::NotSupported => Errno::EOPNOTSUPP,
        FsError::Exists => Errno::EEXIST,
        FsError::NotEmpty => Errno::ENOTEMPTY,
        FsError::NoSpace => Errno::ENOSPC,
        FsError::TooLarge => Errno::EFBIG,
        FsError::NotPermitted => Errno::EPERM,
        FsError::TooManyLinks => Errno::EMLINK,
    }
}
