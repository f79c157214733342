// Stands in the solution's own module.
pub fn check() -> bool {
    let same = |text: &str, n: usize, expected: &[(&str, usize)]| {
        let expected: Vec<(String, usize)> = expected.iter().map(|(word, count)| (word.to_string(), *count)).collect();
        top_words(text, n) == expected
    };
    same("", 3, &[])
        && same("The cat, the dog; THE end.", 2, &[("the", 3), ("cat", 1)])
        && same("b a c b a", 9, &[("a", 2), ("b", 2), ("c", 1)])
        && same("Über über 你好,你好 x1", 3, &[("über", 2), ("你好", 2), ("x1", 1)])
        && same("a b", 0, &[])
}
