//! The account that PostgreSQL runs as. It refuses root, so a `runnel up` of root hands it over
//! to an unprivileged one.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

/// Debian's package makes the first; every Unix has the second.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

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
