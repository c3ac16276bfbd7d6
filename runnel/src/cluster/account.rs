//! The account that PostgreSQL runs as. It refuses root, so a `runnel up` of root hands it over
//! to an unprivileged one.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::home::write_private;

/// Debian's package makes the first; every Unix has the second.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Writes standard input to a file that gets its name when it is complete.
const WRITE: &str = "umask 077 && cat >\"$1.new\" && sync \"$1.new\" && mv -f \"$1.new\" \"$1\"";

/// Whose process the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    /// The one of this process.
    Own,
    /// An unprivileged one, because this process is root's.
    Other {
        /// Its name, for people.
        name: String,
        /// Its user id.
        uid: u32,
        /// Its group id.
        gid: u32,
    },
}

impl Account {
    /// Chooses: the own account unless that is root's; then the owner of the cluster that is
    /// already there, or else the first unprivileged account of this machine.
    ///
    /// # Errors
    /// When this is root and the machine has no account to hand the server to.
    pub(super) fn choose(existing_data: &Path) -> anyhow::Result<Account> {
        if fs::metadata("/proc/self")
            .context("cannot read /proc/self")?
            .uid()
            != 0
        {
            return Ok(Account::Own);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let owner = fs::metadata(existing_data).map(|data| data.uid()).ok();
        if let Some(account) = owner.and_then(|uid| find(&passwd, |_, id| id == uid)) {
            return Ok(account);
        }
        let first = |wanted: &&str| find(&passwd, |name, _| name == *wanted);
        UNPRIVILEGED
            .iter()
            .find_map(first)
            .context("PostgreSQL refuses to run as root, and /etc/passwd has no `nobody`")
    }

    /// A command that will run as this account, in the root folder (the own working folder may
    /// be closed to it), and out of reach of the terminal's Ctrl-C: the server stops last.
    #[must_use]
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .process_group(0)
            .env_remove("PGDATA")
            .env("LC_ALL", "C");
        if let Account::Other { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid).env("HOME", "/");
        }
        command
    }

    /// Whether this account can enter a folder. Tried, not computed: access lists and mounts
    /// have their say, too.
    #[must_use]
    pub(super) fn can_enter(&self, folder: &Path) -> bool {
        let mut command = self.command(Path::new("/bin/true"));
        command
            .current_dir(folder)
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Writes a file that only this account may read, wholly or not at all.
    ///
    /// # Errors
    /// As the file system says, with the path.
    pub(super) fn write(&self, path: &Path, text: &[u8]) -> anyhow::Result<()> {
        match self {
            Account::Own => write_private(path, text),
            Account::Other { .. } => self.pour(WRITE, path, text),
        }
    }

    /// Writes behind what a file of this account holds.
    ///
    /// # Errors
    /// As the file system says, with the path.
    pub(super) fn append(&self, path: &Path, text: &[u8]) -> anyhow::Result<()> {
        self.pour("cat >>\"$1\"", path, text)
    }

    /// In a folder of another account root writes as that account: a symbolic link there would
    /// turn a write of root's to any file of the machine.
    fn pour(&self, script: &str, path: &Path, text: &[u8]) -> anyhow::Result<()> {
        let mut shell = self.command(Path::new("/bin/sh"));
        shell.args(["-c", script, "sh"]).arg(path);
        shell.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut pour = || {
            let mut child = shell.spawn()?;
            let written = child.stdin.take().map(|mut stdin| stdin.write_all(text));
            let ended = child.wait_with_output()?;
            if !ended.status.success() {
                let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
                return Err(std::io::Error::other(said));
            }
            written.unwrap_or(Ok(()))
        };
        pour().with_context(|| format!("cannot write {} as {}", path.display(), self.name()))
    }

    /// Gives a file or folder to this account.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(super) fn own(&self, path: &Path) -> anyhow::Result<()> {
        let Account::Other { uid, gid, .. } = self else {
            return Ok(());
        };
        chown(path, Some(*uid), Some(*gid))
            .with_context(|| format!("cannot give {} to {}", path.display(), self.name()))
    }

    /// Its name, for messages.
    #[must_use]
    pub(super) fn name(&self) -> &str {
        match self {
            Account::Own => "this user",
            Account::Other { name, .. } => name,
        }
    }
}

/// The first line of a passwd file that is not root's and is wanted.
fn find(passwd: &str, wanted: impl Fn(&str, u32) -> bool) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let account = Account::Other {
            name: name.to_owned(),
            uid,
            gid,
        };
        (uid != 0 && wanted(name, uid)).then_some(account)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:n:/:/bin/false\n\
                          postgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";

    #[test]
    fn a_file_is_written_wholly_for_its_account_alone_and_can_be_added_to() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let account = Account::choose(Path::new("/nonexistent")).unwrap();
        account.own(folder.path()).unwrap();
        let file = folder.path().join("a file");
        for text in ["first\n", "second\n"] {
            account.write(&file, text.as_bytes()).unwrap();
        }
        account.append(&file, b"third\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "second\nthird\n");
        let (of_file, of_folder) = (file.metadata().unwrap(), folder.path().metadata().unwrap());
        assert_eq!(of_file.permissions().mode() & 0o777, 0o600);
        assert_eq!(of_file.uid(), of_folder.uid());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = account.write(&folder.path().join("no/file"), b"");
        assert!(nowhere.is_err());
    }

    #[test]
    fn root_writes_through_no_link_that_another_account_laid() {
        let account = Account::choose(Path::new("/nonexistent")).unwrap();
        if account == Account::Own {
            return;
        }
        let (folder, roots) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        account.own(folder.path()).unwrap();
        let (link, target) = (
            folder.path().join("port.new"),
            roots.path().join("precious"),
        );
        fs::write(&target, "root's").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(account.write(&folder.path().join("port"), b"1").is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "root's");
    }

    #[test]
    fn an_account_is_found_by_name_or_by_id_and_is_never_root() {
        let postgres = Account::Other {
            name: "postgres".into(),
            uid: 101,
            gid: 104,
        };
        assert_eq!(
            find(PASSWD, |name, _| name == "postgres"),
            Some(postgres.clone())
        );
        assert_eq!(find(PASSWD, |_, uid| uid == 101), Some(postgres));
        assert_eq!(find(PASSWD, |name, _| name == "root"), None);
        assert_eq!(find(PASSWD, |_, uid| uid == 7), None);
    }
}
