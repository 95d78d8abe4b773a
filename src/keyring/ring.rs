//! The ring: a folder that holds a copy of every key that was ever current, so that a renewal
//! loses none. Nothing here ever deletes a key.
//!
//! A file is named by its key's fingerprint, and its time of change is when the key was last known
//! to be current or was added: the order in which retired keys are tried. Whole files alone get a
//! name that ends in `.pem`.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};
use std::process;
use std::time::SystemTime;

use super::{KeyError, ServerKey};

/// The folder.
pub struct Ring {
    folder: PathBuf,
}

/// A key of the ring.
pub struct Kept {
    /// When it was last known to be current, or was added.
    pub date: SystemTime,
    /// The key.
    pub key: ServerKey,
}

/// What is in the folder.
pub struct Content {
    /// The newest first.
    pub kept: Vec<Kept>,
    /// Why the other files hold no key.
    pub useless: Vec<KeyError>,
}

impl Ring {
    /// The ring in this folder, which need not be there yet.
    pub fn new(folder: &Path) -> Self {
        Ring { folder: folder.to_owned() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Copies a key in, or dates the copy that is there anew. When this returns, the key survives
    /// a crash of the machine. A folder that is made now goes to the owner of the file `like`.
    ///
    /// # Errors
    /// [`KeyError::Ring`]
    pub fn admit(&self, key: &ServerKey, like: &Path) -> Result<(), KeyError> {
        let at = |error| KeyError::Ring(self.folder.clone(), error);
        self.make(like).map_err(at)?;
        let file = self.folder.join(format!("{}.pem", key.fingerprint()));
        let whole = |kept: ServerKey| kept.fingerprint() == key.fingerprint();
        if ServerKey::read(&file).is_ok_and(whole) {
            // The date orders retired keys and no more: a ring that is read-only goes on serving.
            let dated = File::options().append(true).open(&file);
            let _ = dated.and_then(|file| file.set_modified(SystemTime::now()));
            return Ok(());
        }
        let owner = fs::metadata(&self.folder).map_err(at)?;
        replace(&file, &key.private_pem()?, 0o600, &owner).map_err(at)
    }

    fn make(&self, like: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            // A folder that is there on a read-only file system may be told either way.
            Err(_) if self.folder.is_dir() => return Ok(()),
            made => made?,
        }
        give(&File::open(&self.folder)?, &fs::metadata(like)?)?;
        sync_parent(&self.folder)
    }

    /// Every key in the folder, the newest first.
    ///
    /// # Errors
    /// [`KeyError::Ring`] where the folder cannot be read; one that is not there is empty.
    pub fn keys(&self) -> Result<Content, KeyError> {
        let at = |error| KeyError::Ring(self.folder.clone(), error);
        let mut content = Content { kept: Vec::new(), useless: Vec::new() };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(content),
            entries => entries.map_err(at)?,
        };
        for entry in entries {
            let path = entry.map_err(at)?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                match Kept::read(&path) {
                    Ok(kept) => content.kept.push(kept),
                    Err(error) => content.useless.push(error),
                }
            }
        }
        content.kept.sort_by(|a, b| {
            b.date.cmp(&a.date).then_with(|| a.key.fingerprint().cmp(b.key.fingerprint()))
        });
        // An administrator may have put a key in under a name of their own as well.
        let mut seen = HashSet::new();
        content.kept.retain(|kept| seen.insert(kept.key.fingerprint().to_owned()));
        Ok(content)
    }
}

impl Kept {
    fn read(path: &Path) -> Result<Self, KeyError> {
        let date = fs::metadata(path).and_then(|metadata| metadata.modified());
        let date = date.map_err(|error| KeyError::File(path.to_owned(), error))?;
        Ok(Kept { date, key: ServerKey::read(path)? })
    }
}

/// Writes a file in place of another at one stroke: a crash leaves the old one or the new one. It
/// goes to the owner and group of `like`, with this mode; where it cannot, it is its maker's alone.
///
/// # Errors
/// As the file system says; the old file stays.
pub fn replace(path: &Path, content: &[u8], mode: u32, like: &Metadata) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", process::id()));
    let new = path.with_file_name(name);
    let write = || {
        // One of the same name is what a crash of an earlier process has left.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        if give(&file, like)? {
            // Not at the opening, where the umask of whoever types the command would count.
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_parent(path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Gives a file to the owner and group of another, for root's commands must not take files from
/// the server's account. Whoever is not root may not give anything away: `false`.
fn give(file: &File, like: &Metadata) -> io::Result<bool> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (like.uid(), like.gid()) {
        return Ok(true);
    }
    match fchown(file, Some(like.uid()), Some(like.gid())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        given => given.map(|()| true),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
