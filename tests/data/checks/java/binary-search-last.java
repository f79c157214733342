/** Stands in the solution's own package. */
class Check {
    public static void main(String[] args) {
        same(3, Searcher.lastIndex(new int[] {1, 2, 2, 2, 3}, 2));
        same(4, Searcher.lastIndex(new int[] {1, 2, 2, 2, 3}, 3));
        same(0, Searcher.lastIndex(new int[] {5}, 5));
        same(-1, Searcher.lastIndex(new int[] {5}, 6));
        same(-1, Searcher.lastIndex(new int[] {}, 1));
        same(-1, Searcher.lastIndex(new int[] {1, 3}, 2));
        same(6, Searcher.lastIndex(new int[] {7, 7, 7, 7, 7, 7, 7}, 7));
        same(1, Searcher.lastIndex(new int[] {-4, -4, 0, 1, 1, 9}, -4));
    }

    private static void same(int expected, int actual) {
        if (expected != actual) {
            throw new AssertionError(expected + " != " + actual);
        }
    }
}
