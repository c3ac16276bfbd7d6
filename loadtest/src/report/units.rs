//! Numbers as people read them: three digits that say something, thousands apart, a unit that
//! fits the size. The page, the terminal and the comparison write them alike.

use std::fmt;

/// Stands where there is no number.
pub(super) const NONE: &str = "–";

/// A number and its unit, apart so that the page can set them in different sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    pub(super) number: String,
    pub(super) unit: &'static str,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.unit.is_empty() || self.unit == "/s" {
            ""
        } else {
            " "
        };
        write!(f, "{}{space}{}", self.number, self.unit)
    }
}

fn of(value: f64, unit: &'static str) -> Quantity {
    Quantity {
        number: digits(value),
        unit: if value.is_finite() { unit } else { "" },
    }
}

/// About three significant digits: `0.004`, `0.42`, `3.14`, `21.4`, `2,140`.
pub(super) fn digits(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let decimals = match value.abs() {
        size if size == 0.0 || size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    grouped(&format!("{value:.decimals$}"))
}

/// A whole number, thousands apart.
pub(super) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

fn grouped(plain: &str) -> String {
    let whole_end = plain.find('.').unwrap_or(plain.len());
    let (whole, rest) = plain.split_at(whole_end);
    let mut text = String::with_capacity(plain.len() + 4);
    for (index, digit) in whole.char_indices() {
        let left = whole.len() - index;
        let after_digit = text.ends_with(|last: char| last.is_ascii_digit());
        if after_digit && left.is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// A duration given in milliseconds: in seconds from one second on.
pub(super) fn duration(milliseconds: f64) -> Quantity {
    if milliseconds.abs() >= 1_000.0 {
        of(milliseconds / 1_000.0, "s")
    } else {
        of(milliseconds, "ms")
    }
}

/// Seconds as a length of time: `60 s`, `1 h`, `12 min 30 s`.
pub(super) fn seconds(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return NONE.to_owned();
    }
    if value < 120.0 {
        let mut tenths = format!("{value:.1}");
        if let Some(whole) = tenths.strip_suffix(".0") {
            tenths = whole.to_owned();
        }
        return format!("{tenths} s");
    }
    let whole = value.round() as u64;
    let parts = [
        (whole / 3_600, "h"),
        (whole / 60 % 60, "min"),
        (whole % 60, "s"),
    ];
    let words: Vec<_> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number} {unit}"))
        .collect();
    words.join(" ")
}

/// So many a second.
pub(super) fn rate(value: f64) -> Quantity {
    of(value, "/s")
}

/// A share (0 to 1) in percent. A share that is not all is never shown as all.
pub(super) fn percent(share: f64) -> Quantity {
    let percent = share * 100.0;
    let quantity = of(percent, "%");
    if share > 0.0 && percent < 0.001 {
        return Quantity {
            number: format!("{percent:.1e}"),
            ..quantity
        };
    }
    if share < 1.0 && quantity.number == "100" {
        return availability(share);
    }
    quantity
}

/// A share near 1 with as many digits as its nines need, rounded down: `99.9987 %`.
pub(super) fn availability(share: f64) -> Quantity {
    let missing = 1.0 - share;
    if !share.is_finite() || missing <= 0.0 {
        return of(share * 100.0, "%");
    }
    // 0.0013 % missing needs four decimals for its two digits; more than six say nothing.
    let nines = -(missing * 100.0).log10() - 1e-9;
    let decimals = nines.ceil().clamp(0.0, 5.0) + 1.0;
    let scale = 10_f64.powf(decimals);
    // The smallest step above the product, or 99.9 becomes 99.8 through its binary form.
    let floored = (share * 100.0 * scale + 1e-6).floor() / scale;
    Quantity {
        number: format!("{floored:.*}", decimals as usize),
        unit: "%",
    }
}

/// Bytes in the unit that leaves one to four digits before the point.
pub(super) fn bytes(value: f64) -> Quantity {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = value;
    let mut index = 0;
    while size.abs() >= 1_024.0 && index + 1 < UNITS.len() {
        size /= 1_024.0;
        index += 1;
    }
    of(size, UNITS[index])
}

/// A figure in one of the units of [`super::Figure`].
pub(super) fn figure(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => bytes(value).to_string(),
        "ms" => duration(value).to_string(),
        "share" => percent(value).to_string(),
        "/s" => rate(value).to_string(),
        "" => digits(value),
        other => format!("{} {other}", digits(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_say_something() {
        let shown = [
            0.0, 0.0042, 0.4213, 3.1433, 9.999, 21.44, 214.4, 99.97, 2_140.3, 1e7,
        ];
        let expected = [
            "0",
            "0.004",
            "0.42",
            "3.14",
            "10.0",
            "21.4",
            "214",
            "100",
            "2,140",
            "10,000,000",
        ];
        assert_eq!(shown.map(digits), expected);
        assert_eq!(digits(f64::NAN), NONE);
        assert_eq!(digits(-1_234.0), "-1,234");
    }

    #[test]
    fn an_availability_is_rounded_down_to_the_digits_its_nines_need() {
        let shown = [1.0, 0.999, 0.99999, 0.999_987_6, 0.95, 0.5, 0.999_999_999_9];
        let expected = [
            "100 %",
            "99.90 %",
            "99.9990 %",
            "99.9987 %",
            "95.0 %",
            "50.0 %",
            "99.999999 %",
        ];
        assert_eq!(shown.map(|share| availability(share).to_string()), expected);
    }

    #[test]
    fn a_share_is_never_rounded_to_all_or_to_nothing() {
        assert_eq!(percent(0.999_99).to_string(), "99.9990 %");
        assert_eq!(percent(0.000_000_3).to_string(), "3.0e-5 %");
        assert_eq!(percent(0.001).to_string(), "0.10 %");
        assert_eq!(percent(0.0).to_string(), "0 %");
    }

    #[test]
    fn a_figure_has_the_unit_that_fits_its_size() {
        assert_eq!(figure(3_221_225_472.0, "bytes"), "3.00 GiB");
        assert_eq!(figure(1_240.0, "ms"), "1.24 s");
        assert_eq!(figure(1_240.0, "/s"), "1,240/s");
        assert_eq!(figure(1.5, "cores"), "1.50 cores");
        assert_eq!(seconds(60.0), "60 s");
        assert_eq!(seconds(3_661.0), "1 h 1 min 1 s");
    }
}
