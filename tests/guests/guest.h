// What the tests' guests have in common.

#define EXPORT(name) __attribute__((export_name(#name), noinline))
#define NOINLINE __attribute__((noinline))
