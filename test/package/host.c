/*
 * Loads an addon as Node does: everything bound at once, with Node-API in the program (`napi.c`, made by the test).
 * Prints the version of Node-API that the addon asks for, and then what is mapped into the process.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

int main(int argc, char **argv) {
  int32_t (*version)(void);
  FILE *maps;
  int byte;
  void *addon = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;

  if (!addon || !dlsym(addon, "napi_register_module_v1")) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  *(void **)&version = dlsym(addon, "node_api_module_get_api_version_v1");
  if (!version)
    return 1;
  printf("%d\n", version());
  maps = fopen("/proc/self/maps", "r");
  if (!maps)
    return 1;
  while ((byte = fgetc(maps)) != EOF)
    putchar(byte);
  fclose(maps);
  return 0;
}
