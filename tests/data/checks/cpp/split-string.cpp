// Stands in the solution's own namespace.
#include <stdexcept>
bool check() {
    using Parts = std::vector<std::string>;
    try {
        split("abc", "");
        return false;
    } catch (const std::invalid_argument&) {
    }
    const std::string longer(100000, 'x');
    return split("a,b,c", ",") == Parts{"a", "b", "c"} && split("", ",") == Parts{""} &&
           split(",a,,b,", ",") == Parts{"", "a", "", "b", ""} && split("a--b-c--", "--") == Parts{"a", "b-c", ""} &&
           split("aaa", "aa") == Parts{"", "a"} && split(longer + ";" + longer, ";") == Parts{longer, longer};
}
