use super::*;

fn parsed(text: &str) -> Constraint {
    text.parse().unwrap_or_else(|reason: String| panic!("{text}: {reason}"))
}

#[test]
fn every_operator_is_read_and_written() {
    use Operator::{Equal, Exists, In, Matches, NotEqual, NotExists, NotIn, Version};
    for (text, attribute, operator, values, canonical) in [
        ("arch == x86_64", "arch", Equal, &["x86_64"][..], "arch == x86_64"),
        ("arch=x86_64", "arch", Equal, &["x86_64"], "arch == x86_64"),
        (" arch ==  \"x86_64\" ", "arch", Equal, &["x86_64"], "arch == x86_64"),
        ("zone == a b", "zone", Equal, &["a b"], "zone == \"a b\""),
        ("zone == \"a\"b\"", "zone", Equal, &["a\"b"], "zone == \"a\"b\""),
        ("zone == \" = [] \"", "zone", Equal, &[" = [] "], "zone == \" = [] \""),
        ("zone == \"\"\"", "zone", Equal, &["\""], "zone == \"\"\""),
        ("zone == Zürich", "zone", Equal, &["Zürich"], "zone == Zürich"),
        ("image == a:1", "image", Equal, &["a:1"], "image == a:1"),
        ("zone != c", "zone", NotEqual, &["c"], "zone != c"),
        ("zone in [a, b]", "zone", In, &["a", "b"], "zone in [a, b]"),
        ("zone in[a,\"b, c\",]", "zone", In, &["a", "b, c"], "zone in [a, \"b, c\"]"),
        ("rack not in [r1]", "rack", NotIn, &["r1"], "rack not in [r1]"),
        ("os matches \"^linux\"", "os", Matches, &["^linux"], "os matches \"^linux\""),
        ("os matches ^[a-z]+=\\d$", "os", Matches, &["^[a-z]+=\\d$"], "os matches \"^[a-z]+=\\d$\""),
        ("os matches \"a\"b\"", "os", Matches, &["a\"b"], "os matches \"a\"b\""),
        ("kernel version >= 6.1", "kernel", Version(Comparison::GreaterOrEqual), &["6.1"], "kernel version >= 6.1"),
        ("kernel version>6", "kernel", Version(Comparison::Greater), &["6"], "kernel version > 6"),
        ("k version < v1.2.3-rc1", "k", Version(Comparison::Less), &["v1.2.3-rc1"], "k version < v1.2.3-rc1"),
        ("k version <= 1", "k", Version(Comparison::LessOrEqual), &["1"], "k version <= 1"),
        ("k version != 1", "k", Version(Comparison::NotEqual), &["1"], "k version != 1"),
        ("version version = 1", "version", Version(Comparison::Equal), &["1"], "version version == 1"),
        ("gpu exists", "gpu", Exists, &[], "gpu exists"),
        ("gpu not exists", "gpu", NotExists, &[], "gpu not exists"),
        ("not not exists", "not", NotExists, &[], "not not exists"),
        ("exists == exists", "exists", Equal, &["exists"], "exists == exists"),
    ] {
        let constraint = parsed(text);
        assert_eq!((constraint.attribute.as_str(), constraint.operator), (attribute, operator), "{text}");
        assert_eq!(constraint.values, values, "{text}");
        assert_eq!(constraint.to_string(), canonical, "{text}");
        assert_eq!(parsed(canonical), constraint, "the canonical form of {text} reads back");
    }
}

#[test]
fn refusals_say_why() {
    for (text, reason) in [
        ("", "does not start with an attribute"),
        ("== a", "does not start with an attribute"),
        ("ä == a", "does not start with an attribute"),
        ("zone", "has no operator"),
        ("zone =~ b", "a regular expression is written `zone matches \"b\"`"),
        ("zone !~ \"b\"", "`!~` is no operator"),
        ("zone ~ b", "`~` is no operator"),
        ("zone a", "`a` is not a condition"),
        ("the zone == a", "`zone == a` is not a condition"),
        ("zone ==", "has no value"),
        ("zone == \"\"", "has no value"),
        ("zone === a", "is not a value; write it in double quotes"),
        ("zone == \"a", "has no closing quote"),
        ("zone == \"", "has no closing quote"),
        ("zone == [a]", "is not a value"),
        ("zone == a\nb", "contains a control character"),
        ("cpus >= 2", "compares versions: write `cpus version >= 2`"),
        ("zone in a", "is not a list such as `[a, b]`"),
        ("zone in []", "the list is empty"),
        ("zone in [a b, , c]", "has no value"),
        ("zone in [\"a\" b]", "is not separated by a comma"),
        ("zone in [\"a]", "has no closing quote"),
        ("zone not a", "is neither `not in` nor `not exists`"),
        ("zone not exists x", "is neither `not in` nor `not exists`"),
        ("gpu exists now", "`exists now` is not a condition"),
        ("os matches", "has no regular expression"),
        ("os matches \"(\"", "`(` is not a regular expression: unclosed group"),
        ("os matches \"((a{100}){100}){100}\"", "is too large"),
        ("kernel version 6", "has none of == != < <= > >="),
        ("kernel version >= six", "`six` is not a version"),
        ("kernel version >= 1.2.3.4.5.6.7.8.9", "is not a version"),
        ("kernel version >= 99999999999999999999", "is not a version"),
        ("pool == gpu", "a constraint does not choose the pool"),
    ] {
        let refused = text.parse::<Constraint>().unwrap_err();
        assert!(refused.contains(reason), "{text}: {refused}");
    }
    let long = format!("os matches \"{}\"", "a".repeat(PATTERN_LEN_MAX + 1));
    assert!(long.parse::<Constraint>().unwrap_err().contains("more than 256"));
    let many = format!("zone in [{}]", "a,".repeat(CONSTRAINT_VALUES_MAX + 1));
    assert!(many.parse::<Constraint>().unwrap_err().contains("more than 64"));
    for text in [format!("{} exists", "a".repeat(1_025)), format!("a == {}", "b".repeat(1_025))] {
        assert!(text.parse::<Constraint>().is_err());
    }
}
