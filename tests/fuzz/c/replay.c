/* Runs a fuzz target over files: the committed corpus, on every `make test`. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

static int run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(EPP_FUZZ_MAX_BYTES);
    if (file == NULL || bytes == NULL) return 1;
    const size_t n = fread(bytes, 1, EPP_FUZZ_MAX_BYTES, file);
    (void)fclose(file);
    const int result = LLVMFuzzerTestOneInput(bytes, n);
    free(bytes);
    return result;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (run_file(argv[i]) == 0) continue;
        (void)fprintf(stderr, "cannot run %s\n", argv[i]);
        return 1;
    }
    (void)printf("%d inputs\n", argc - 1);
    return argc > 1 ? 0 : 1;
}
