// A WASI command by wasi-libc: arguments, environment, standard output and error, exit code.
//
//   hello NAME... : greets everybody; EXIT_CODE in the environment is the exit code

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    const char *code = getenv("EXIT_CODE");
    for (int i = 1; i < argc; i++)
        printf("%d: hello, %s!\n", i, argv[i]); // @hello
    fprintf(stderr, "%d greeted\n", argc - 1);
    return code ? atoi(code) : 0;
}
