//! Suggestions for mistyped names.

/// The longest word that is compared: the work grows with the square, and words can come from the network.
const WORD_LEN_MAX: usize = 64;

/// Finds the candidate closest to `word`, if one is close enough to be a plausible typing mistake.
///
/// Close enough means at most one edit per three characters (at least one), or one being the start of the other.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > WORD_LEN_MAX {
        return None;
    }
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| !candidate.is_empty() && candidate.len() <= 2 * WORD_LEN_MAX)
        .map(|candidate| {
            let prefix = word.len() >= 3 && candidate.starts_with(word);
            (if prefix { 0 } else { edits(word, candidate) }, candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance over characters, in which swapping two neighbours is one edit: it is the commonest slip.
fn edits(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    rows[0] = (0..=right.len()).collect();
    for i in 1..=left.len() {
        rows[i][0] = i;
        for j in 1..=right.len() {
            let substituted = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = substituted.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggests_only_what_is_close() {
        let words = ["memory", "timeout", "output", "wordcount"];
        for (word, expected) in [
            ("memroy", Some("memory")),
            ("time_out", Some("timeout")),
            ("outputs", Some("output")),
            ("wor", Some("wordcount")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }
}
