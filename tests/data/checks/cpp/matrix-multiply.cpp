// Stands in the solution's own namespace.
#include <stdexcept>
bool check() {
    auto refuses = [](const Matrix& a, const Matrix& b) {
        try {
            multiply(a, b);
            return false;
        } catch (const std::invalid_argument&) {
            return true;
        }
    };
    const Matrix a = {{0.5, 1, 2}, {3, 4, 5}};
    const Matrix b = {{1, 2}, {3, 4}, {5, 6}};
    return multiply(a, b) == Matrix{{13.5, 17}, {40, 52}} && multiply({{0.25}}, {{0.5}}) == Matrix{{0.125}} &&
           multiply({}, b).empty() && multiply(a, {}).empty() && refuses(a, a) && refuses({{1, 2}, {3}}, {{1}, {2}}) &&
           refuses({{1, 2}}, {{1, 2}, {3}});
}
