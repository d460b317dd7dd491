//! The table of prices: one file with its date and region. No network is used.

use std::{collections::BTreeMap, sync::LazyLock};

/// The hours of a month in prices.
pub const HOURS: f64 = 730.0;

/// The prices, with their date and region.
pub struct Prices {
    /// The region that they apply to.
    pub region: &'static str,
    /// When they were collected, such as `2026-07-20`.
    pub date: &'static str,
    of: BTreeMap<&'static str, f64>,
}

static PRICES: LazyLock<Prices> =
    LazyLock::new(|| Prices::parse(include_str!("prices.txt")).expect("a test reads the file"));

/// Returns the table.
pub fn prices() -> &'static Prices {
    &PRICES
}

/// Returns a price of the table that is not about an instance type.
pub fn price(name: &str) -> f64 {
    *PRICES.of.get(name).unwrap_or_else(|| panic!("prices.txt has no {name}"))
}

/// Returns the price of an hour of an instance; `None` if the table has no price for its type.
pub fn instance_hour(instance_type: &str) -> Option<f64> {
    PRICES.of.get(format!("ec2.{instance_type}").as_str()).copied()
}

impl Prices {
    /// Errors: the line that is not valid.
    fn parse(text: &'static str) -> Result<Prices, String> {
        let (mut region, mut date, mut of) = ("", "", BTreeMap::new());
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(' ') {
                Some(("region", name)) => region = name,
                Some(("date", day)) => date = day,
                Some((name, price)) => {
                    let price: f64 = price.parse().map_err(|_| line.to_owned())?;
                    if price <= 0.0 || of.insert(name, price).is_some() {
                        return Err(line.to_owned());
                    }
                }
                None => return Err(line.to_owned()),
            }
        }
        if region.is_empty() || date.is_empty() {
            Err("no region or date".into())
        } else {
            Ok(Prices { region, date, of })
        }
    }

    /// Their date, and their region if it is not `region`: `prices of 2026-07-20`.
    pub fn words(&self, region: &str) -> String {
        match region == self.region {
            true => format!("prices of {}", self.date),
            false => format!("prices of {}, {}", self.region, self.date),
        }
    }
}

/// An amount in US dollars: `$6.13`.
pub fn dollars(amount: f64) -> String {
    // No "-0.00".
    let cents = (amount * 100.0).round();
    format!("${:.2}", if cents == 0.0 { 0.0 } else { cents / 100.0 })
}

/// A unit price, with as many digits as it has: `$0.0000166667`.
pub fn unit(price: f64) -> String {
    let (all, cents) = (format!("{price}"), format!("{price:.2}"));
    if all.len() > cents.len() { format!("${all}") } else { format!("${cents}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FAMILIES;

    #[test]
    fn the_table_has_a_date_a_region_and_every_family_of_instances() {
        let prices = Prices::parse(include_str!("prices.txt")).unwrap();
        assert_eq!(prices.region, "us-east-1");
        let parts: Vec<&str> = prices.date.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [4, 2, 2]);
        for (family, _) in FAMILIES {
            assert!(prices.of.keys().any(|name| name.starts_with(&format!("ec2.{family}."))), "{family}");
        }
        assert_eq!((instance_hour("t3.micro"), instance_hour("t3.mega")), (Some(0.0104), None));
    }

    #[test]
    fn a_line_without_a_price_or_with_a_second_one_is_named() {
        let refused = |text| Prices::parse(text).err();
        for (text, line) in [
            ("region r\ndate d\na", "a"),
            ("region r\ndate d\na b", "a b"),
            ("region r\ndate d\na 0", "a 0"),
            ("region r\ndate d\na 1\na 2", "a 2"),
            ("region r\na 1", "no region or date"),
        ] {
            assert_eq!(refused(text).as_deref(), Some(line));
        }
        assert_eq!(refused("# a comment\n\nregion r\ndate d\na 0.5\n"), None);
    }

    #[test]
    fn amounts_have_cents_and_unit_prices_all_their_digits() {
        assert_eq!([7.592, 0.005, -0.001, 1234.5].map(dollars), ["$7.59", "$0.01", "$0.00", "$1234.50"]);
        assert_eq!([0.5, 0.1, 0.025, 0.0000166667].map(unit), ["$0.50", "$0.10", "$0.025", "$0.0000166667"]);
    }

    #[test]
    fn prices_of_another_region_are_named() {
        assert_eq!(prices().words("us-east-1"), format!("prices of {}", prices().date));
        assert_eq!(prices().words("eu-west-3"), format!("prices of us-east-1, {}", prices().date));
    }
}
