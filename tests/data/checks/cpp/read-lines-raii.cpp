// Stands in the solution's own namespace.
#include <cstdio>
#include <cstring>
#include <fstream>
bool check() {
    const std::string path = "lines of " + std::to_string(reinterpret_cast<unsigned long>(&check)) + ".txt";
    const std::string longer(100000, 'x');
    auto read = [&](const std::string& text) {
        std::ofstream(path, std::ios::binary) << text;
        return read_lines(path);
    };
    using Lines = std::vector<std::string>;
    const bool same = read("") == Lines{} && read("a\nb") == Lines{"a", "b"} && read("a\n\nb\n") == Lines{"a", "", "b"} &&
                      read("\n") == Lines{""} && read("a\r\nb\r") == Lines{"a", "b"} &&
                      read(longer + "\n" + longer) == Lines{longer, longer};
    std::remove(path.c_str());
    try {
        read_lines("absent/file.txt");
        return false;
    } catch (const std::runtime_error& error) {
        return same && std::strstr(error.what(), "absent/file.txt") != nullptr;
    }
}
