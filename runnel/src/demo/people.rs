//! Plausible people: names of many places, each with a region and an address of its own.

use std::iter;

use uuid::Uuid;

/// Somebody to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) region: &'static str,
    pub(super) bio: String,
}

/// Given and family names go together by place, so that nobody is called Björn Nakamura twice.
const PLACES: [Place; 6] = [
    Place {
        region: "eu-north",
        given: [
            "Astrid", "Björn", "Freja", "Henrik", "Ingrid", "Lars", "Maja", "Sørine",
        ],
        family: [
            "Andersson",
            "Bergström",
            "Dahl",
            "Eriksen",
            "Holm",
            "Lindqvist",
            "Nygård",
            "Virtanen",
        ],
    },
    Place {
        region: "eu-south",
        given: [
            "Alba", "Bruno", "Chiara", "Davide", "Elena", "Íñigo", "Lucía", "Nuno",
        ],
        family: [
            "Bianchi", "Carvalho", "Esposito", "Ferreira", "García", "Moretti", "Núñez", "Ribeiro",
        ],
    },
    Place {
        region: "af-west",
        given: [
            "Abena", "Chidi", "Efua", "Folake", "Kwame", "Ngozi", "Sekou", "Yaa",
        ],
        family: [
            "Adeyemi", "Boateng", "Diallo", "Eze", "Mensah", "Okafor", "Owusu", "Traoré",
        ],
    },
    Place {
        region: "ap-east",
        given: [
            "Aiko", "Daichi", "Haruka", "Jisoo", "Kenji", "Mei", "Minjun", "Yuna",
        ],
        family: [
            "Chen", "Ishikawa", "Kim", "Lin", "Nakamura", "Park", "Tanaka", "Watanabe",
        ],
    },
    Place {
        region: "ap-south",
        given: [
            "Aarav", "Diya", "Farah", "Ishaan", "Kavya", "Nikhil", "Priya", "Rohan",
        ],
        family: [
            "Banerjee",
            "Chowdhury",
            "Desai",
            "Iyer",
            "Khan",
            "Mehta",
            "Nair",
            "Patel",
        ],
    },
    Place {
        region: "us-west",
        given: [
            "Alice", "Caleb", "Dolores", "Hank", "Itzel", "Marcus", "Ruth", "Wyatt",
        ],
        family: [
            "Alvarez",
            "Begay",
            "Carter",
            "Hughes",
            "Nguyen",
            "O’Brien",
            "Sutton",
            "Whitfield",
        ],
    },
];

const BIOS: [&str; 8] = [
    "Reads maps for fun",
    "Bakes on Sundays",
    "Third-best chess player of the street",
    "Collects bicycle bells",
    "Grows tomatoes on a balcony",
    "Sings alto",
    "Repairs radios",
    "Walks before breakfast",
];

struct Place {
    region: &'static str,
    given: [&'static str; 8],
    family: [&'static str; 8],
}

/// Different people, and others at each call: ids and addresses are new ones.
pub(super) fn crowd() -> impl Iterator<Item = Person> {
    iter::repeat_with(Uuid::now_v7).map(person)
}

/// The last bytes of the id choose, because those before them count up; so one id is one person.
fn person(id: Uuid) -> Person {
    let random = id.as_bytes();
    let pick = |at: usize, of: usize| usize::from(random[at]) % of;
    let place = &PLACES[pick(12, PLACES.len())];
    let (given, family) = (place.given[pick(13, 8)], place.family[pick(14, 8)]);
    let mark = id.simple().to_string().split_off(20);
    Person {
        id,
        name: format!("{given} {family}"),
        email: format!("{}.{}.{mark}@example.org", plain(given), plain(family)),
        region: place.region,
        bio: BIOS[pick(15, BIOS.len())].to_owned(),
    }
}

/// Letters that every mail server accepts.
fn plain(name: &str) -> String {
    let letters = name.to_lowercase();
    letters.chars().filter_map(plain_letter).collect()
}

fn plain_letter(letter: char) -> Option<char> {
    match letter {
        'a'..='z' => Some(letter),
        'å' | 'á' => Some('a'),
        'é' => Some('e'),
        'í' => Some('i'),
        'ñ' => Some('n'),
        'ö' | 'ø' | 'ó' => Some('o'),
        'ú' => Some('u'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_crowd_shares_no_id_and_no_address() {
        let crowd: Vec<Person> = crowd().take(500).collect();
        let ids: HashSet<_> = crowd.iter().map(|p| p.id).collect();
        let addresses: HashSet<_> = crowd.iter().map(|p| &p.email).collect();
        assert_eq!((ids.len(), addresses.len()), (500, 500));
        let regions: HashSet<_> = crowd.iter().map(|p| p.region).collect();
        assert_eq!(regions.len(), PLACES.len());
    }

    #[test]
    fn addresses_are_plain_letters_whatever_the_name() {
        for place in &PLACES {
            for name in place.given.iter().chain(&place.family) {
                let plain = plain(name);
                let letters = name.chars().filter(|c| c.is_alphabetic()).count();
                assert_eq!(plain.len(), letters, "{name} became {plain}");
            }
        }
    }
}
