// Stands in the solution's own module.
pub fn check() -> bool {
    let good = parse_config("# note\n\n a = 1 \n  # more\nb=x=y\nc =\n   \n");
    let entry = |key: &str| good.as_ref().ok().and_then(|config| config.get(key).cloned());
    let refuses = |text: &str, line: &str| parse_config(text).is_err_and(|message| message.contains(line));
    good.as_ref().is_ok_and(|config| config.len() == 3)
        && entry("a").as_deref() == Some("1")
        && entry("b").as_deref() == Some("x=y")
        && entry("c").as_deref() == Some("")
        && refuses("a=1\nnonsense", "2")
        && refuses("\n\n = 3", "3")
        && refuses("a=1\nb=2\na=3", "3")
}
