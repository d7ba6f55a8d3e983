// A WASI command in a few hundred bytes: greets each of its arguments, or the world.
//
// It calls WASI preview 1 directly, without a C library, so that nothing in it is not on this page.
// The exit code is the number of greetings beyond the first.

#ifndef GREETING
#define GREETING "hello"
#endif

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
#define NOINLINE __attribute__((noinline))

struct iovec {
    const char *data;
    unsigned length;
};

WASI(args_sizes_get) int args_sizes_get(unsigned *count, unsigned *size);
WASI(args_get) int args_get(char **argv, char *buffer);
WASI(fd_write) int fd_write(int fd, const struct iovec *parts, unsigned count, unsigned *written);
WASI(proc_exit) _Noreturn void proc_exit(int code);

enum { MOST_ARGUMENTS = 64, MOST_BYTES = 4096, STDOUT = 1 };

static char *argv[MOST_ARGUMENTS];
static char buffer[MOST_BYTES];

NOINLINE unsigned length(const char *text) {
    unsigned n = 0;
    while (text[n] != 0)
        n++;
    return n;
}

// A write may take less than it was given, so it is repeated until nothing is left.
NOINLINE void put(const char *text, unsigned left) {
    while (left > 0) {
        struct iovec part = {text, left};
        unsigned written;
        if (fd_write(STDOUT, &part, 1, &written) != 0) // @write
            proc_exit(74);
        text += written;
        left -= written;
    }
}

NOINLINE void greet(const char *whom) {
    put(GREETING ", ", sizeof GREETING + 1);
    put(whom, length(whom));
    put("\n", 1);
}

__attribute__((export_name("_start"))) void _start(void) {
    unsigned count, size;
    if (args_sizes_get(&count, &size) != 0 || count > MOST_ARGUMENTS || size > MOST_BYTES)
        proc_exit(64);
    args_get(argv, buffer);
    if (count < 2)
        greet("world");
    for (unsigned i = 1; i < count; i++)
        greet(argv[i]); // @each
    proc_exit(count < 2 ? 0 : (int)count - 2);
}
