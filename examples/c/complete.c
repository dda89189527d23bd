/* Continues a text with the most probable tokens.

     complete model.pleat 'def main():'
*/
#include <pleat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEW_TOKENS = 32 };

static pleat_error error;

/* Ends the program if a call failed. */
static void check(pleat_status status) {
  if (status == PLEAT_OK) return;
  fprintf(stderr, "error %d: %s\n", status, error.message);
  exit(1);
}

static void *allocate(size_t count, size_t size) {
  void *memory = calloc(count, size);
  if (memory == NULL) abort();
  return memory;
}

/* The token with the largest logit. */
static pleat_token best(const float *logits, size_t count) {
  size_t found = 0;
  for (size_t token = 1; token < count; token++)
    if (logits[token] > logits[found]) found = token;
  return (pleat_token)found;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: complete model text\n");
    return 64;
  }
  pleat_model *model;
  check(pleat_model_open(argv[1], 0, &model, &error));

  /* The first call says how many tokens there are. */
  size_t count = 0;
  pleat_tokenize(model, argv[2], strlen(argv[2]), NULL, 0, &count, NULL);
  pleat_token *tokens = allocate(count + 1, sizeof *tokens);
  check(pleat_tokenize(model, argv[2], strlen(argv[2]), tokens, count, &count, &error));

  pleat_context *context;
  check(pleat_context_open(model, count + NEW_TOKENS, 0, &context, &error));
  size_t size = pleat_vocabulary_size(model);
  float *logits = allocate(size, sizeof *logits);
  check(pleat_context_append(context, tokens, count, logits, size, &error));
  for (int added = 0; added < NEW_TOKENS; added++) {
    pleat_token token = best(logits, size);
    if (pleat_ends_text(model, token)) break;
    char text[256];
    size_t length;
    check(pleat_token_text(model, token, text, sizeof text, &length, &error));
    fwrite(text, 1, length, stdout);
    check(pleat_context_append(context, &token, 1, logits, size, &error));
  }
  putchar('\n');
  check(pleat_context_close(context, &error));
  check(pleat_model_close(model, &error));
  free(logits);
  free(tokens);
}
