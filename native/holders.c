#include "holders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DECIMAL 10
/* `pos:`, `flags:`, `mnt_id:`, `ino:` and `iff:` take about 100 bytes. */
#define FDINFO_BYTES 1024U

static bool is_number(const char *name) {
  return *name != '\0' && strspn(name, "0123456789") == strlen(name);
}

/* Opens a directory below another. NULL where that is not to be had. */
static DIR *open_directory(int parent, const char *name) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return NULL;
  DIR *directory = fdopendir(fd);
  if (!directory)
    close(fd);
  return directory;
}

/* A jailed VMM opens a device node of its own, under another path: only the last part tells. */
static bool is_tun(int descriptors, const char *fd) {
  static const char suffix[] = "/tun";
  char path[4096];
  ssize_t length = readlinkat(descriptors, fd, path, sizeof path);
  size_t tail = sizeof suffix - 1;
  return length >= (ssize_t)tail && memcmp(path + length - tail, suffix, tail) == 0;
}

/* The kernel writes `iff:\tNAME` of an attached descriptor (drivers/net/tun.c, tun_chr_show_fdinfo). */
static bool read_name(int infos, const char *fd, char name[HOLDER_NAME]) {
  char text[FDINFO_BYTES];
  int file = openat(infos, fd, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return false;
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0)
    return false;
  text[length] = '\0';

  char *line = strstr(text, "\niff:");
  if (!line)
    return false;
  line += sizeof "\niff:" - 1;
  line += strspn(line, " \t");
  size_t end = strcspn(line, "\n");
  if (end == 0 || end >= HOLDER_NAME)
    return false;
  memset(name, 0, HOLDER_NAME);
  memcpy(name, line, end);
  return true;
}

static int list_process(int process, uint32_t pid, struct bytes *output, size_t spare) {
  int error = 0;
  DIR *descriptors = open_directory(process, "fd");
  int infos = openat(process, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  const struct dirent *entry;
  while (error == 0 && descriptors && infos >= 0 && (entry = readdir(descriptors))) {
    char name[HOLDER_NAME];
    if (!is_number(entry->d_name) || !is_tun(dirfd(descriptors), entry->d_name) ||
        !read_name(infos, entry->d_name, name))
      continue;
    error = bytes_reserve(output, sizeof pid + sizeof name + spare);
    if (error == 0) {
      bytes_put_u32(output, pid);
      bytes_put(output, name, sizeof name);
    }
  }

  if (infos >= 0)
    close(infos);
  if (descriptors)
    closedir(descriptors);
  return error;
}

int holders_list(struct bytes *output, size_t spare) {
  int error = 0;
  DIR *processes = open_directory(AT_FDCWD, "/proc");
  if (!processes)
    return -errno;

  const struct dirent *entry;
  while (error == 0 && (entry = readdir(processes))) {
    if (!is_number(entry->d_name))
      continue;
    int process = openat(dirfd(processes), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process < 0)
      continue;
    error = list_process(process, (uint32_t)strtoul(entry->d_name, NULL, DECIMAL), output, spare);
    close(process);
  }
  closedir(processes);
  return error;
}
