//! The commands that every contender runs: one registration to three profile updates of users that
//! the same writer registered, any of them with the same chance. Made from a seed, so that every
//! contender gets the same ones.

use std::sync::LazyLock;

use domain::user::{RegisterUser, UpdateProfile};
use events::Patch;
use events::user_fields::{Bio, Email, EmailKey, Name, Region};
use uuid::Uuid;

/// One command in so many registers a user.
pub(crate) const REGISTRATION_PERIOD: u64 = 4;

const GIVEN: [&str; 8] = [
    "Ada", "Grace", "Edsger", "Barbara", "Tony", "Frances", "Ken", "Radia",
];
const FAMILY: [&str; 8] = [
    "Lovelace", "Hopper", "Dijkstra", "Liskov", "Hoare", "Allen", "Thompson", "Perlman",
];
const REGIONS: [&str; 4] = ["eu-west", "eu-north", "us-east", "ap-south"];

/// Made once: the measurement is of the append, not of the making of commands.
static NAMES: LazyLock<Vec<Name>> = LazyLock::new(|| {
    let pairs = GIVEN
        .iter()
        .flat_map(|given| FAMILY.iter().map(move |family| (given, family)));
    let name = |(given, family)| Name::parse(&format!("{given} {family}")).expect("a name");
    pairs.map(name).collect()
});
static PLACES: LazyLock<Vec<Region>> = LazyLock::new(|| {
    REGIONS
        .map(|region| Region::parse(region).expect("a region"))
        .into()
});
static BIOS: LazyLock<Vec<Bio>> = LazyLock::new(|| {
    let mut random = SplitMix(1);
    let mut text = || {
        format!(
            "Met {:016x} at a conference and went on from there.",
            random.next()
        )
    };
    (0..1024)
        .map(|_| Bio::parse(&text()).expect("a bio"))
        .collect()
});

/// What a writer does next.
pub(crate) enum Next {
    /// Register a new user.
    Register(RegisterUser),
    /// Update the user with this number, in the order of registration.
    Update(usize, UpdateProfile),
}

/// A source of commands.
pub(crate) struct People {
    random: SplitMix,
    registered: usize,
}

impl People {
    /// A source; another seed gives other people.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: SplitMix(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            registered: 0,
        }
    }

    /// The next command.
    pub(crate) fn next(&mut self) -> Next {
        if self.registered == 0 || self.random.next().is_multiple_of(REGISTRATION_PERIOD) {
            self.registered += 1;
            return Next::Register(self.register());
        }
        Next::Update(self.index(self.registered), self.update())
    }

    fn register(&mut self) -> RegisterUser {
        let user_id = Uuid::now_v7();
        let email = format!("{}@example.org", user_id.simple());
        RegisterUser {
            user_id,
            // As long as the keyed hash that command-api makes; the store cannot tell.
            email_key: EmailKey {
                hash: *blake3::hash(email.as_bytes()).as_bytes(),
                key_version: 1,
            },
            email: Email::parse(&email).expect("an address"),
            name: self.one_of(&NAMES),
            region: self.one_of(&PLACES),
            bio: Some(self.one_of(&BIOS)),
            avatar_url: None,
        }
    }

    fn update(&mut self) -> UpdateProfile {
        UpdateProfile {
            name: None,
            region: Some(self.one_of(&PLACES)),
            bio: Patch::Set(self.one_of(&BIOS)),
            avatar_url: Patch::Keep,
        }
    }

    fn one_of<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.index(values.len())].clone()
    }

    /// An index into something of that length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).expect("a usize fits a u64");
        usize::try_from(self.random.next() % length).expect("less than a usize")
    }

    /// A number below `bound`, for choices of the contender itself.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.random.next() % bound
    }
}

/// Sebastiano Vigna's splitmix64: five lines, and good enough to choose names.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_registers_before_it_updates_and_names_only_its_own_users() {
        let mut people = People::new(7);
        let mut registered = 0;
        for _ in 0..1000 {
            match people.next() {
                Next::Register(_) => registered += 1,
                Next::Update(user, _) => assert!(user < registered),
            }
        }
        assert!((200..300).contains(&registered), "{registered}");
    }
}
