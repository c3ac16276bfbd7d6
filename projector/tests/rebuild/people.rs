//! Users and what happens to them, every kind of event among it, the same for the same numbers.

use chrono::{DateTime, TimeDelta, Utc};
use events::user::{
    UserActivityRecorded, UserDeactivated, UserEmailChanged, UserProfileUpdated, UserReactivated,
};
use events::user_fields::EmailKey;
use events::{Partition, PartitionCount, Patch, Personal, RecordedEvent, TenantId, UserEvent};
use testkit::database::TEST_PARTITIONS;
use testkit::history::{History, minute, registered, tenant};
use uuid::Uuid;

/// One event in so many registers a user.
const REGISTRATION_PERIOD: u64 = 6;

/// Appears in a bio, because COPY has meanings for it.
const AWKWARD: &str = "tab\there\\and\r\nline \\N end";

pub(crate) struct People {
    history: History,
    tenants: [TenantId; 2],
    pub(crate) users: Vec<(TenantId, Uuid)>,
    number: u64,
}

impl People {
    pub(crate) fn new() -> Self {
        Self {
            history: History::default(),
            tenants: [tenant("acme"), tenant("globex")],
            users: Vec::new(),
            number: 0,
        }
    }

    /// So many more events.
    pub(crate) fn events(&mut self, count: usize) -> Vec<RecordedEvent> {
        (0..count).map(|_| self.next()).collect()
    }

    /// So many more events of users that there are, all of one partition and each of another user.
    pub(crate) fn activities(&mut self, partition: u16, count: usize) -> Vec<RecordedEvent> {
        let partitions = PartitionCount::new(TEST_PARTITIONS).unwrap();
        let of = |(tenant, id): &&(TenantId, Uuid)| {
            let partition_of = partitions.partition_of(tenant, &id.to_string());
            partition_of == Partition(partition)
        };
        let users: Vec<_> = self.users.iter().filter(of).take(count).cloned().collect();
        let events = users.iter();
        events
            .map(|(tenant, id)| self.record(tenant, *id, &activity(minute(1))))
            .collect()
    }

    /// One more event of a user that there is, of a version that no binary knows.
    pub(crate) fn unknown(&mut self) -> RecordedEvent {
        let (tenant, id) = self.users[0].clone();
        let mut event = self.record(&tenant, id, &activity(minute(1)));
        event.event_version = 99;
        event
    }

    fn record(&mut self, tenant: &TenantId, id: Uuid, event: &UserEvent) -> RecordedEvent {
        self.history.record(tenant, id, event)
    }

    fn next(&mut self) -> RecordedEvent {
        self.number += 1;
        let random = mix(self.number);
        if self.users.is_empty() || random.is_multiple_of(REGISTRATION_PERIOD) {
            let id = Uuid::from_u64_pair(mix(random), self.number);
            let tenant = self.tenants[self.users.len() % 2].clone();
            self.users.push((tenant.clone(), id));
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&self.number.to_le_bytes());
            let name = format!("User {}", self.number);
            return self.record(&tenant, id, &registered(id, &name, "eu-west", hash));
        }
        let index = usize::try_from(mix(random) % self.users.len() as u64).unwrap();
        let (tenant, id) = self.users[index].clone();
        let event = change(random, self.number);
        self.record(&tenant, id, &event)
    }
}

fn change(random: u64, number: u64) -> UserEvent {
    let at = minute(i64::try_from(number).unwrap());
    match (random >> 8) % 10 {
        0 => UserEvent::UserDeactivated(UserDeactivated { deactivated_at: at }),
        1 => UserEvent::UserReactivated(UserReactivated { reactivated_at: at }),
        2 => UserEvent::UserEmailChanged(UserEmailChanged {
            email: Personal::Plain(format!("new{number}@example.org")),
            email_key: EmailKey {
                hash: [u8::try_from(number % 251).unwrap(); 32],
                key_version: 2,
            },
            changed_at: at,
        }),
        3 | 4 => UserEvent::UserProfileUpdated(UserProfileUpdated {
            name: Some(Personal::Plain(format!("  Zoe\u{308} {number} "))),
            region: Some("us-east".to_owned()),
            bio: Patch::Set(Personal::Plain(format!("{AWKWARD} {number}"))),
            avatar_url: Patch::Clear,
            updated_at: at,
        }),
        5 => UserEvent::UserProfileUpdated(UserProfileUpdated {
            name: Some(Personal::Erased),
            region: None,
            bio: Patch::Clear,
            avatar_url: Patch::Set(Personal::Plain("https://a.example/a.png".to_owned())),
            updated_at: at,
        }),
        _ => activity(at + TimeDelta::microseconds(i64::try_from(random % 999_983).unwrap())),
    }
}

fn activity(active_at: DateTime<Utc>) -> UserEvent {
    UserEvent::UserActivityRecorded(UserActivityRecorded { active_at })
}

/// SplitMix64.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
