// The guest of the LLDB tests: ints, floats, structs, arrays and strings to look at, and ways to end.
// Lines are named by marks such as @sum; nothing here needs the C library.

#define EXPORT(name) __attribute__((export_name(#name), noinline))
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))

typedef unsigned int size;
struct iovec {
    const char *data;
    size length;
};
WASI(fd_write) int fd_write(int fd, const struct iovec *parts, size count, size *written);
WASI(proc_exit) _Noreturn void proc_exit(int code);

static void print(const char *text) {
    struct iovec part = {text, 0};
    size written;
    while (text[part.length])
        part.length++;
    fd_write(1, &part, 1, &written);
}

struct item {
    int id;
    short quantity;
    char grade;
    float weight;
    double price;
    const char *name;
};

struct item basket[3] = {
    {101, 2, 'a', 0.5f, 1.25, "apple"},
    {102, 1, 'b', 1.5f, 3.5, "bread"},
    {103, 4, 'c', 0.25f, 0.75, "cherry"},
};
int counter = 0;

__attribute__((noinline)) double line_price(const struct item *item, int discount) {
    double full = item->quantity * item->price;
    counter++; // @count
    return full - full * discount / 100; // @price
}

__attribute__((noinline)) double sum(const struct item *items, int count, int discount) {
    double total = 0;
    for (int i = 0; i < count; i++) {
        double price = line_price(&items[i], discount); // @call
        total += price; // @add
    }
    return total; // @sum
}

EXPORT(shop) int shop(void) {
    int squares[4] = {1, 4, 9, 16};
    long long big = 1LL << 40;
    print("open\n");
    double total = sum(basket, 3, 10); // @shop
    print("closed\n"); // @closed
    return (int)total + squares[3] + (int)(big >> 40); // @end
}

EXPORT(leave) void leave(int code) {
    print("bye\n");
    proc_exit(code); // @leave
}

EXPORT(spin) int spin(void) {
    volatile int stop = 0;
    print("spinning\n");
    while (!stop) { // @spin
    }
    print("stopped\n");
    return 7;
}

__attribute__((noinline)) int divide(int a, int b) {
    return a / b; // @divide
}

EXPORT(by_zero) int by_zero(void) {
    return divide(1, 0); // @by_zero
}

EXPORT(wild) int wild(void) {
    volatile int *far = (int *)0x70000000;
    return *far; // @wild
}

EXPORT(crash) void crash(void) {
    __builtin_trap(); // @crash
}

__attribute__((noinline)) int deep(int depth) {
    if (depth == 0)
        return 0; // @bottom
    return 1 + deep(depth - 1);
}

EXPORT(dive) int dive(int depth) {
    return deep(depth);
}

EXPORT(rounds) int rounds(int count) {
    double total = 0;
    for (int i = 0; i < count; i++)
        total += line_price(&basket[i % 3], 10); // @rounds
    return (int)total;
}
