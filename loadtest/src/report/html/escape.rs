//! Text in markup and figures in a script: nothing that a server said may become either.

use std::fmt::{self, Write as _};

use serde::Serialize;

/// Text for an element or an attribute.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Letters that no browser shows, of which some turn the direction of text.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char('\u{fffd}')?,
                letter if letter.is_control() && letter != '\n' => f.write_char('\u{fffd}')?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// JSON that no `</script>` or `<!--` can end.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value)
        .expect("numbers and text become JSON")
        .replace('<', "\\u003c")
}
