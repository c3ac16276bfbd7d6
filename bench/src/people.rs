//! The commands that every contender runs: one registration to three profile updates of users that
//! the same writer registered, any of them with the same chance. Made from a seed, so that every
//! contender gets the same ones.

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
        let (given, family) = (self.one_of(&GIVEN), self.one_of(&FAMILY));
        let email = format!("{given}.{}@example.org", user_id.simple()).to_lowercase();
        RegisterUser {
            user_id,
            // As long as the keyed hash that command-api makes; the store cannot tell.
            email_key: EmailKey {
                hash: *blake3::hash(email.as_bytes()).as_bytes(),
                key_version: 1,
            },
            email: Email::parse(&email).expect("an address"),
            name: Name::parse(&format!("{given} {family}")).expect("a name"),
            region: Region::parse(self.one_of(&REGIONS)).expect("a region"),
            bio: Some(self.bio()),
            avatar_url: None,
        }
    }

    fn update(&mut self) -> UpdateProfile {
        UpdateProfile {
            name: None,
            region: Some(Region::parse(self.one_of(&REGIONS)).expect("a region")),
            bio: Patch::Set(self.bio()),
            avatar_url: Patch::Keep,
        }
    }

    fn bio(&mut self) -> Bio {
        let text = format!(
            "Met {} {} at conference {:016x} and went on from there.",
            self.one_of(&GIVEN),
            self.one_of(&FAMILY),
            self.random.next()
        );
        Bio::parse(&text).expect("a bio")
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.index(words.len())]
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
