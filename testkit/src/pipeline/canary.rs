//! Canaries: random texts of 128 bits that belong to one tenant. Where another tenant's shows,
//! something was mixed up (I9).

use uuid::Uuid;

/// A tenant's canaries, one for each field that can hold one.
#[derive(Clone, Debug)]
pub struct Canaries {
    /// The tenant's own name.
    pub tenant: String,
    /// In names of users.
    pub name: String,
    /// In what they say of themselves.
    pub bio: String,
    /// In avatars' URLs.
    pub avatar: String,
    /// The region; 32 characters is all that one may have.
    pub region: String,
    /// In addresses.
    pub email: String,
}

impl Default for Canaries {
    fn default() -> Self {
        Self::new()
    }
}

impl Canaries {
    /// Fresh ones.
    #[must_use]
    pub fn new() -> Self {
        let canary = || Uuid::new_v4().simple().to_string();
        Self {
            tenant: canary(),
            name: canary(),
            bio: canary(),
            avatar: canary(),
            region: canary(),
            email: canary(),
        }
    }

    /// What only the tenant's own readers may see.
    #[must_use]
    pub fn all(&self) -> [&str; 6] {
        let [name, bio, avatar, region, email] = self.of_people();
        [&self.tenant, name, bio, avatar, region, email]
    }

    /// What stands in no log and in no metric, whoever reads it.
    #[must_use]
    pub fn of_people(&self) -> [&str; 5] {
        [
            &self.name,
            &self.bio,
            &self.avatar,
            &self.region,
            &self.email,
        ]
    }
}

/// Those of the canaries that are in the text, in any letter case.
#[must_use]
pub fn found<'c>(canaries: &[&'c str], text: &str) -> Vec<&'c str> {
    let text = text.to_lowercase();
    let is_there = |canary: &&&str| text.contains(&canary.to_lowercase());
    canaries.iter().filter(is_there).copied().collect()
}
