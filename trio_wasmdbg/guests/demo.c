// The guest that the demo debugs: a shop's till, and a few ways to go wrong.
//
// Compiled at -O1, so that parameters and variables are WebAssembly locals and half-finished sums
// stay on the operand stack.  NOINLINE keeps the functions that one wants to see in a backtrace.
// SEED and ITEMS change every number that comes out: tests run the demo on such a variant.
// Marks like `@tax` name lines for whoever wants to find them.

#ifndef SEED
#define SEED 7
#endif
#ifndef ITEMS
#define ITEMS 4 // 3, 4 or 5
#endif
#define TAX (SEED + 12) // per cent

#define EXPORT(name) __attribute__((export_name(#name), noinline))
#define IMPORT(name) __attribute__((import_module("host"), import_name(#name)))
#define NOINLINE __attribute__((noinline))
// An empty piece of assembly that claims to change `x`: the compiler can't know its value any more.
#define OPAQUE(x) __asm__ volatile("" : "+r"(x))

IMPORT(fetch_price) int fetch_price(int id); // cents
IMPORT(sleep_ms) void sleep_ms(int milliseconds);

// ── a till ─────────────────────────────────────────────────────────────────────────────────────

struct item {
    int id;
    int quantity;
    int price; // cents
};

struct item basket[ITEMS] = {
    {100 + SEED, 1 + SEED % 3, 20 * SEED + 9},
    {200 + SEED, 2, 110 + SEED},
    {300 + SEED, 1 + SEED % 4, 31 * SEED},
#if ITEMS >= 4
    {400 + SEED, 3, 45 + 2 * SEED},
#endif
#if ITEMS >= 5
    {500 + SEED, 1, 12 * SEED + 3},
#endif
};

NOINLINE int line_total(const struct item *item) {
    return item->quantity * item->price; // @line_total
}

// Recursive on purpose: each frame keeps its own line on the operand stack while the rest is summed.
NOINLINE int subtotal(const struct item *items, int count) {
    if (count == 0)
        return 0; // @bottom
    return line_total(items) + subtotal(items + 1, count - 1); // @subtotal
}

NOINLINE int with_tax(int cents) {
    return cents + cents * TAX / 100; // @tax
}

EXPORT(checkout) int checkout(int discount) { // per cent
    int full = subtotal(basket, ITEMS);
    int off = full * discount / 100;
    return with_tax(full - off); // @checkout
}

// ── something to step through ──────────────────────────────────────────────────────────────────

EXPORT(gcd) int gcd(int a, int b) {
    while (b != 0) { // @gcd
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// Newton's method: f64 locals that close in on the square root.
EXPORT(square_root) double square_root(double x, int rounds) {
    double guess = x / 2 + SEED;
    for (int i = 0; i < rounds; i++)
        guess = (guess + x / guess) / 2; // @newton
    return guess;
}

EXPORT(mix) unsigned long long mix(unsigned long long state, int rounds) {
    for (int i = 0; i < rounds; i++) {
        state = state * 6364136223846793005ULL + (unsigned long long)(2 * SEED + 1);
        state ^= state >> 29; // @mix
    }
    return state;
}

// ── loops that never end, and store nothing ────────────────────────────────────────────────────

EXPORT(spin) void spin(void) {
    for (;;) { // @spin
    }
}

// Looks for an odd number among even ones.  Only a debugger can help it out: make `n` odd.
EXPORT(search) int search(int from) {
    int n = from * 2;
    do {
        n += 2 * SEED;
        OPAQUE(n); // @search
    } while ((n & 1) == 0);
    return n;
}

// ── traps ──────────────────────────────────────────────────────────────────────────────────────

struct node {
    int value;
    const struct node *next;
};

// The third node's pointer is garbage: far beyond the end of the memory.
static const struct node third = {3 * SEED, (const struct node *)(0x40000000 + 16 * SEED)};
static const struct node second = {2 * SEED, &third};
const struct node first = {SEED, &second};

NOINLINE int sum_nodes(const struct node *node) {
    if (node == 0)
        return 0;
    return node->value + sum_nodes(node->next); // @bad_pointer
}

// Out of bounds memory access.
EXPORT(sum_list) int sum_list(void) {
    const struct node *node = &first;
    OPAQUE(node);
    return sum_nodes(node);
}

// Integer divide by zero, for a count of 0.
EXPORT(average_line) int average_line(int count) {
    return subtotal(basket, count) / count; // @divide
}

NOINLINE void require(int truth) {
    if (!truth)
        __builtin_trap(); // @unreachable
}

// Unreachable, for a quantity that is not on stock.
EXPORT(take) int take(int index, int quantity) {
    struct item *item = &basket[index];
    require(quantity <= item->quantity);
    item->quantity -= quantity;
    return item->quantity;
}

// ── host functions that take their time ────────────────────────────────────────────────────────

EXPORT(refresh_prices) int refresh_prices(void) {
    for (int i = 0; i < ITEMS; i++)
        basket[i].price = fetch_price(basket[i].id); // @fetch
    return checkout(0);
}

EXPORT(nap) int nap(int times) {
    int slept = 0;
    for (int i = 0; i < times; i++) {
        sleep_ms(SEED);
        slept += SEED; // @nap
    }
    return slept;
}
