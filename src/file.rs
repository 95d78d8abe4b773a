//! Files that are read while the server serves: keys, certificate, secrets of the BE.
//!
//! Whoever opens a pipe waits for its writer: the watcher would look no more, and the main thread
//! hear no signal. What the content means is its reader's.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fs, io};

/// The largest such file, in bytes; a long chain of certificates takes a hundredth.
const MOST: u64 = 1024 * 1024;

/// The content of a regular file.
///
/// # Errors
/// As the file system says; for what is no regular file, or larger than 1 MiB, in words.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Looked at before it is opened, which waits already.
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if found.len() > MOST {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    fs::read(path)
}

/// What changes with a file or a folder, where it is: device, inode, size and both times.
pub type Stamp = Option<[i128; 7]>;

/// The stamp as it is now.
pub fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some([
        file.dev().into(),
        file.ino().into(),
        file.size().into(),
        file.mtime().into(),
        file.mtime_nsec().into(),
        file.ctime().into(),
        file.ctime_nsec().into(),
    ])
}
