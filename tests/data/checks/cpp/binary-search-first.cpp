// Stands in the solution's own namespace.
bool check() {
    const std::vector<int> equal(1000, 7);
    return first_index({1, 2, 2, 2, 3}, 2) == 1 && first_index({1, 2, 2, 3}, 4) == -1 && first_index({1, 3}, 2) == -1 &&
           first_index({5}, 5) == 0 && first_index({5}, 4) == -1 && first_index(equal, 7) == 0 &&
           first_index({-9, -9, 0, 0, 0}, 0) == 2 && first_index({}, 1) == -1;
}
