//! `user_view`: one row a user, folded from the events of its own stream. Reads stand in
//! [`reads`], what is served of a row and to whom in [`fields`].

/// The columns of a row, as every statement selects them from a table called `u`.
macro_rules! columns {
    () => {
        "u.tenant, u.id, u.version, u.status, u.email, u.email_hash, u.email_key_version, u.name, \
         u.region, u.bio, u.display_name, u.avatar_url, u.created_at, u.last_active"
    };
}

mod bulk;
pub mod cached;
pub mod fields;
pub mod reads;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};
use events::stream::USER;
use events::user::{UserProfileUpdated, UserRegistered};
use events::user_fields::EmailKey;
use events::{EventRef, Patch, Personal, RecordedEvent, TenantId, UserEvent};
use sqlx::PgConnection;
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use crate::cache::Cached;
use crate::projection::{ApplyError, BulkFold, Effects, Projection, Target, Touched, Written};

/// The view's name: file, table, metric label and CLI argument.
pub const NAME: &str = "user_view";

/// The revision of the fold below: it changes with it, and a test compares.
pub const REVISION: i32 = 1;

/// What a deactivated user is shown as.
pub const DEACTIVATED_NAME: &str = "Deactivated user";

/// Which user: the key of a row, and what a cache keeps it under. (In front of it a cache has the
/// field set, which is how a role shows: what one role may not see is another set.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The user.
    pub id: Uuid,
}

impl UserKey {
    /// The user that the projection says it touched.
    #[must_use]
    pub fn touched(touched: &Touched) -> Option<Self> {
        let id = Uuid::try_parse(&touched.id).ok()?;
        Some(Self {
            tenant: touched.tenant.clone(),
            id,
        })
    }
}

/// A row: what the events of one user come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The tenant.
    pub tenant: TenantId,
    /// The user.
    pub id: Uuid,
    /// The version of the user's stream that the row shows.
    pub version: i64,
    /// Active or deactivated.
    pub status: UserStatus,
    /// The address, as the user wrote it; none when it was erased.
    pub email: Option<String>,
    /// What the address is found by.
    pub email_key: Option<EmailKey>,
    /// The name, as the user wrote it; none when it was erased.
    pub name: Option<String>,
    /// The region.
    pub region: String,
    /// A few words.
    pub bio: Option<String>,
    /// The name to show: trimmed, NFC.
    pub display_name: Option<String>,
    /// An https URL.
    pub avatar_url: Option<String>,
    /// When the user registered.
    pub created_at: DateTime<Utc>,
    /// The latest recorded activity; it begins as `created_at` and never goes back.
    pub last_active: DateTime<Utc>,
}

/// The life of a user, a small integer in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum UserStatus {
    /// Does everything.
    Active = 1,
    /// Can only be reactivated.
    Deactivated = 2,
}

impl UserStatus {
    /// The word that is served.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deactivated => "deactivated",
        }
    }
}

impl TryFrom<i16> for UserStatus {
    type Error = UnknownStatus;

    fn try_from(number: i16) -> Result<Self, UnknownStatus> {
        match number {
            1 => Ok(Self::Active),
            2 => Ok(Self::Deactivated),
            other => Err(UnknownStatus(other)),
        }
    }
}

/// A number in the column `status` that this binary does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("status {0} is not known to this binary")]
pub struct UnknownStatus(i16);

impl UserRow {
    /// Whose row it is.
    #[must_use]
    pub fn key(&self) -> UserKey {
        UserKey {
            tenant: self.tenant.clone(),
            id: self.id,
        }
    }

    /// The row after one more event: the fold, pure.
    ///
    /// # Errors
    /// Why the event contradicts the row, without any of its values.
    pub fn fold(
        before: Option<Self>,
        recorded: EventRef<'_>,
        event: UserEvent,
    ) -> Result<Self, &'static str> {
        match before {
            None => Self::first(recorded, event),
            Some(mut row) => row.next(recorded, event).map(|()| row),
        }
    }

    fn first(recorded: EventRef<'_>, event: UserEvent) -> Result<Self, &'static str> {
        let UserEvent::UserRegistered(event) = event else {
            return Err("the user was never registered");
        };
        let mut row = Self::registered(recorded, event)?;
        row.pass(recorded)?;
        Ok(row)
    }

    /// Folds in place; after an error the row is of no use.
    fn next(&mut self, recorded: EventRef<'_>, event: UserEvent) -> Result<(), &'static str> {
        if matches!(event, UserEvent::UserRegistered(_)) {
            return Err("the user is registered already");
        }
        self.change(event);
        self.pass(recorded)
    }

    fn pass(&mut self, recorded: EventRef<'_>) -> Result<(), &'static str> {
        // A gap is no contradiction: the engine proves that no position is skipped, so what is
        // missing was discarded by an operator, and the user's later events must still count.
        if recorded.sequence <= self.version {
            return Err("the event is older than the row");
        }
        self.version = recorded.sequence;
        self.display_name = match self.status {
            UserStatus::Active => self.name.as_deref().map(shown),
            UserStatus::Deactivated => Some(DEACTIVATED_NAME.to_owned()),
        };
        Ok(())
    }

    fn registered(recorded: EventRef<'_>, event: UserRegistered) -> Result<Self, &'static str> {
        let id = Uuid::try_parse(recorded.aggregate_id);
        let tenant = TenantId::parse(recorded.tenant);
        let created_at = event.registered_at.trunc_subsecs(6);
        Ok(Self {
            tenant: tenant.map_err(|_| "the user's tenant is none")?,
            id: id.map_err(|_| "the user's id is not a UUID")?,
            version: 0,
            status: UserStatus::Active,
            email_key: kept_key(&event.email, event.email_key),
            email: plain(event.email),
            name: plain(event.name),
            region: event.region,
            bio: event.bio.and_then(plain),
            display_name: None,
            avatar_url: event.avatar_url.and_then(plain),
            created_at,
            last_active: created_at,
        })
    }

    fn written(self) -> Written {
        let touched = Touched {
            tenant: self.tenant.clone(),
            id: self.id.to_string(),
        };
        Written {
            touched,
            row: Some(Arc::new(self)),
        }
    }

    fn change(&mut self, event: UserEvent) {
        match event {
            UserEvent::UserRegistered(_) => {}
            UserEvent::UserProfileUpdated(event) => self.update(event),
            UserEvent::UserEmailChanged(event) => {
                self.email_key = kept_key(&event.email, event.email_key);
                self.email = plain(event.email);
            }
            UserEvent::UserDeactivated(_) => self.status = UserStatus::Deactivated,
            UserEvent::UserReactivated(_) => self.status = UserStatus::Active,
            UserEvent::UserActivityRecorded(event) => {
                self.last_active = self.last_active.max(event.active_at.trunc_subsecs(6));
            }
        }
    }

    fn update(&mut self, event: UserProfileUpdated) {
        if let Some(name) = event.name {
            self.name = plain(name);
        }
        if let Some(region) = event.region {
            self.region = region;
        }
        patch(&mut self.bio, event.bio);
        patch(&mut self.avatar_url, event.avatar_url);
    }
}

fn patch(field: &mut Option<String>, patch: Patch<Personal<String>>) {
    match patch {
        Patch::Keep => {}
        Patch::Clear => *field = None,
        Patch::Set(value) => *field = plain(value),
    }
}

fn plain(value: Personal<String>) -> Option<String> {
    match value {
        Personal::Plain(value) => Some(value),
        Personal::Erased => None,
    }
}

/// An erased address must not be found by its hash either.
fn kept_key(email: &Personal<String>, key: EmailKey) -> Option<EmailKey> {
    email.reveal().map(|_| key)
}

fn shown(name: &str) -> String {
    let name = name.trim();
    if name.is_ascii() {
        name.to_owned()
    } else {
        name.nfc().collect()
    }
}

fn user_key(recorded: &RecordedEvent) -> Option<UserKey> {
    let id = Uuid::try_parse(&recorded.aggregate_id).ok()?;
    Some(UserKey {
        tenant: recorded.tenant.clone(),
        id,
    })
}

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct UserView;

#[async_trait]
impl Projection for UserView {
    fn name(&self) -> &'static str {
        NAME
    }

    fn revision(&self) -> i32 {
        REVISION
    }

    fn cached(&self) -> Option<&dyn Cached> {
        Some(self)
    }

    fn effects_max(&self, event: &RecordedEvent) -> usize {
        usize::from(event.aggregate_type == USER)
    }

    fn bulk(&self) -> Option<Box<dyn BulkFold>> {
        Some(Box::new(bulk::UserBulk::default()))
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        target: Target,
        batch: &[RecordedEvent],
    ) -> Result<Effects, ApplyError> {
        let mine: Vec<_> = batch
            .iter()
            .filter(|one| one.aggregate_type == USER)
            .collect();
        let known = mine
            .iter()
            .filter(|recorded| recorded.sequence > 1)
            .filter_map(|recorded| user_key(recorded))
            .collect();
        let mut table = rows::load(connection, target.generation, known).await?;
        let mut changed = BTreeSet::new();
        for recorded in mine {
            let row = fold_one(&mut table, recorded)?;
            changed.insert(row.key());
            table.insert(row.key(), row);
        }
        table.retain(|key, _| changed.contains(key));
        let changed: Vec<&UserRow> = table.values().collect();
        rows::upsert(connection, target, &changed).await?;
        let written: Vec<_> = table.into_values().map(UserRow::written).collect();
        Ok(Effects {
            rows: written.len() as u64,
            touched: written.iter().map(|one| one.touched.clone()).collect(),
            written,
        })
    }
}

type Table = BTreeMap<UserKey, UserRow>;

fn fold_one(table: &mut Table, recorded: &RecordedEvent) -> Result<UserRow, ApplyError> {
    let position = recorded.address.position;
    let reason = "the user's id is not a UUID";
    let key = user_key(recorded).ok_or(ApplyError::Fold { position, reason })?;
    let event = read(recorded.borrowed())?;
    UserRow::fold(table.remove(&key), recorded.borrowed(), event)
        .map_err(|reason| ApplyError::Fold { position, reason })
}

fn read(recorded: EventRef<'_>) -> Result<UserEvent, ApplyError> {
    let position = recorded.address.position;
    events::decode(
        recorded.event_type,
        recorded.event_version,
        recorded.payload,
    )
    .map_err(|source| ApplyError::Decode { position, source })
}
