//! Mutations of the shipped file never make the reader panic.

use deployer::config::Config;

use super::shipped;

/// A small generator, so that the mutations are the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

const POOL: &str = "{}[]:,-\"'$&*!|>%@#?~\\\n\t é0aA\u{0}\u{7f}\u{feff}\u{1f600}";

/// Whether it is invalid; neither parsing it nor displaying its errors may panic.
fn is_refused(text: &str) -> bool {
    Config::parse("stack.yaml", text).is_err_and(|errors| !errors.to_string().is_empty())
}

#[test]
fn no_mutation_of_the_shipped_file_makes_it_panic() {
    let shipped: Vec<char> = shipped().chars().collect();
    let pool: Vec<char> = POOL.chars().collect();
    let mut dice = Dice(0x5eed);
    let mut refused = 0;
    for _ in 0..2_000 {
        let mut text = shipped.clone();
        for _ in 0..=dice.roll(6) {
            let at = dice.roll(text.len());
            match dice.roll(3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, pool[dice.roll(pool.len())]),
                _ => text[at] = pool[dice.roll(pool.len())],
            }
        }
        refused += usize::from(is_refused(&text.into_iter().collect::<String>()));
    }
    assert!(refused > 500, "only {refused} of 2000 mutations were refused");
}

#[test]
fn no_shuffle_of_the_words_of_the_shipped_file_makes_it_panic() {
    let shipped = shipped();
    let words: Vec<&str> = shipped.split_inclusive([' ', '\n', ':']).collect();
    let mut dice = Dice(0xdeca);
    let mut refused = 0;
    for _ in 0..1_000 {
        let mut text = words.clone();
        for _ in 0..=dice.roll(3) {
            let (at, other) = (dice.roll(text.len()), dice.roll(text.len()));
            match dice.roll(3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, words[dice.roll(words.len())]),
                _ => text.swap(at, other),
            }
        }
        refused += usize::from(is_refused(&text.concat()));
    }
    assert!(refused > 250, "only {refused} of 1000 shufflings were refused");
}

#[test]
fn garbage_is_refused() {
    let pool: Vec<char> = POOL.chars().collect();
    let mut dice = Dice(0x9a5b);
    for _ in 0..500 {
        let text: String = (0..dice.roll(200)).map(|_| pool[dice.roll(pool.len())]).collect();
        assert!(is_refused(&text), "{text:?}");
    }
}
