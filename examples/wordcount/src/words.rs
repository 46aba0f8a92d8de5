//! Splitting bytes into words, and counting them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of a run that are looked at: a file without any border would otherwise be kept whole. Text of a language that
/// is written without spaces has no run nearly as long.
const RUN_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a word that tell it from others.
const WORD_BYTES_MAX: usize = 256;

/// How often each word occurs. A word is a run of letters and digits, with apostrophes inside; case does not count.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// Hashed without a random seed, which would make the fuel used differ from attempt to attempt.
    counts: HashMap<String, u64, BuildHasherDefault<DefaultHasher>>,
    total: u64,
    /// The bytes of the run that is being read, at most [`RUN_BYTES_MAX`], in lower case where they are ASCII.
    run: Vec<u8>,
}

impl Words {
    /// Counts the words that begin in a range of the source: it reads on after the range to the end of the last one,
    /// and leaves out one that began before.
    ///
    /// # Errors
    /// The source cannot be read.
    pub(crate) fn count(&mut self, source: &mut (impl Read + Seek), range: Range<u64>) -> io::Result<()> {
        // The byte before the range tells whether its first word began earlier.
        let mut position = range.start.saturating_sub(1);
        source.seek(SeekFrom::Start(position))?;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, source);
        let mut state = State::Between;
        loop {
            let buffer = reader.fill_buf()?;
            let read = buffer.len();
            if read == 0 {
                break;
            }
            for &byte in buffer {
                if !is_word_byte(byte) {
                    self.end_run(&mut state);
                } else if state == State::Between {
                    state = if range.contains(&position) { State::InOwn } else { State::InForeign };
                }
                if state == State::InOwn && self.run.len() < RUN_BYTES_MAX {
                    self.run.push(byte.to_ascii_lowercase());
                }
                position += 1;
                if position >= range.end && state != State::InOwn {
                    return Ok(());
                }
            }
            reader.consume(read);
        }
        self.end_run(&mut state);
        Ok(())
    }

    /// Returns how many words there were.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Returns how many different words there were.
    pub(crate) fn distinct(&self) -> usize {
        self.counts.len()
    }

    /// Returns the `most` frequent words with their counts, equally frequent ones in alphabetical order.
    pub(crate) fn top(&self, most: usize) -> impl Iterator<Item = (&str, u64)> {
        let mut words: Vec<_> = self.counts.iter().map(|(word, &count)| (word.as_str(), count)).collect();
        words.sort_by_key(|&(word, count)| (Reverse(count), word));
        words.into_iter().take(most)
    }

    fn end_run(&mut self, state: &mut State) {
        if std::mem::replace(state, State::Between) != State::InOwn {
            return;
        }
        let run = std::mem::take(&mut self.run);
        let text = String::from_utf8_lossy(&run);
        if run.is_ascii() {
            self.add_word(&text);
        } else {
            for word in text.to_lowercase().split(|letter: char| !letter.is_alphanumeric() && letter != '\'') {
                self.add_word(word);
            }
        }
        self.run = run;
        self.run.clear();
    }

    /// Adds a word in lower case.
    fn add_word(&mut self, word: &str) {
        let word = word.trim_matches('\'');
        if word.is_empty() {
            return;
        }
        self.total += 1;
        let word = &word[..word.floor_char_boundary(WORD_BYTES_MAX)];
        match self.counts.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(word.to_owned(), 1);
            }
        }
    }
}

/// Where in a run of word bytes the reading is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// In a run that begins in the range.
    InOwn,
    /// In a run that begins before or after the range.
    InForeign,
}

/// Every byte of a character beyond ASCII counts as part of a word here, so that a border is never inside a character;
/// punctuation among them is found when the run is complete.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'\'' || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn count(text: &[u8], ranges: &[Range<u64>]) -> Words {
        let mut words = Words::default();
        for range in ranges {
            words.count(&mut Cursor::new(text), range.clone()).unwrap();
        }
        words
    }

    fn whole(text: &[u8]) -> Words {
        let range = 0..u64::try_from(text.len()).unwrap();
        count(text, std::slice::from_ref(&range))
    }

    fn list(words: &Words) -> String {
        let words: Vec<_> = words.top(100).map(|(word, count)| format!("{word} {count}")).collect();
        words.join(", ")
    }

    #[test]
    fn splits_and_counts() {
        for (text, expected) in [
            ("", ""),
            (" \n\t", ""),
            ("a", "a 1"),
            ("b a, B; (c) b.", "b 3, a 1, c 1"),
            ("don't 'quote' ''", "don't 1, quote 1"),
            ("Straße STRASSE über—alles “Zitat”", "alles 1, strasse 1, straße 1, zitat 1, über 1"),
            ("GPL-2.0+", "0 1, 2 1, gpl 1"),
        ] {
            assert_eq!(list(&whole(text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stop_it() {
        assert_eq!(list(&whole(b"a \xff\xfe b\xffc \xe2\x80")), "a 1, b 1, c 1");
    }

    #[test]
    fn a_word_belongs_to_the_range_it_begins_in() {
        let text = b"alpha beta gamma";
        for (range, expected) in [
            (0..1, "alpha 1"),
            (1..5, ""),
            (1..6, ""),
            (1..7, "beta 1"),
            (6..10, "beta 1"),
            (7..11, ""),
            (10..12, "gamma 1"),
            (11..16, "gamma 1"),
            (15..16, ""),
            (4..40, "beta 1, gamma 1"),
        ] {
            assert_eq!(list(&count(text, std::slice::from_ref(&range))), expected, "{range:?}");
        }
    }

    #[test]
    fn any_two_cuts_give_the_same_counts() {
        let text = "It's “one” text, ünïcödé—and\n\nmore: a b c 'd' 漢字 e".as_bytes();
        let end = u64::try_from(text.len()).unwrap();
        let expected = list(&whole(text));
        for first in 0..=end {
            for second in first..=end {
                let parts = count(text, &[0..first, first..second, second..end]);
                assert_eq!(list(&parts), expected, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn runs_longer_than_the_buffer_are_one_word() {
        let mut text = vec![b'x'; 3 * BUFFER_BYTES];
        text.extend_from_slice(b" y");
        let end = u64::try_from(text.len()).unwrap();
        let words = count(&text, &[0..100_000, 100_000..end]);
        assert_eq!((words.total(), words.distinct()), (2, 2));
        assert_eq!(words.top(2).map(|(word, _)| word.len()).collect::<Vec<_>>(), [WORD_BYTES_MAX, 1]);
    }

    #[test]
    fn long_text_without_spaces_is_counted_whole() {
        let text = "漢字、".repeat(1000);
        assert_eq!(list(&whole(text.as_bytes())), "漢字 1000");
        let text = "漢".repeat(1000);
        let words = whole(text.as_bytes());
        assert_eq!(words.top(2).collect::<Vec<_>>(), [("漢".repeat(85).as_str(), 1)]);
    }

    #[test]
    fn top_orders_by_count_then_word() {
        let words = whole(b"b a c a b d");
        assert_eq!(words.top(3).collect::<Vec<_>>(), [("a", 2), ("b", 2), ("c", 1)]);
        assert_eq!(words.top(0).count(), 0);
    }
}
