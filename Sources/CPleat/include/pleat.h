/* Pleat for programs in C: opens a language model, turns text into tokens and back, and computes
   the logits of tokens.

   Every function that can fail returns a status and writes the same status and a text to `error`,
   unless that is NULL. Nothing that a caller passes crashes a function, apart from memory that is
   smaller than stated: a handle that is NULL, that was closed or that belongs to something else is
   PLEAT_USAGE. A function that fails changes nothing that its arguments point to, apart from the
   error and, with PLEAT_TOO_SMALL, a count.

   A model or a context is open until the caller closes it. All memory that is passed belongs to the
   caller, and no function keeps a pointer to it.

   Threads may use all functions at once. Calls with the same context wait for each other; calls
   with different contexts, also of the same model, do not. */
#ifndef PLEAT_H
#define PLEAT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What went wrong. */
typedef enum pleat_status {
  PLEAT_OK = 0,
  PLEAT_IO = 1,          /* reading failed: a file is missing, or not to be read */
  PLEAT_MALFORMED = 2,   /* a file does not follow its format */
  PLEAT_UNSUPPORTED = 3, /* the file is valid, but Pleat does not run what is in it */
  PLEAT_MISMATCH = 4,    /* files do not belong together */
  PLEAT_LIMIT = 5,       /* too large for a limit or for the machine */
  PLEAT_USAGE = 6,       /* an argument is invalid */
  PLEAT_INTERRUPTED = 7, /* the caller asked to stop */
  PLEAT_TOO_SMALL = 8    /* memory of the caller is too small; the size it needs was written */
} pleat_status;

/* An error: the status that a function returned, and what was wrong in a line of UTF-8 that ends
   in 0, with what was expected and found; a longer text is cut. After success it is PLEAT_OK and
   "". */
typedef struct pleat_error {
  pleat_status status;
  char message[1020];
} pleat_error;

/* An opened model, by a handle that is used only once. */
typedef struct pleat_model pleat_model;

/* A text that a model reads, with the keys and values of its tokens; likewise. */
typedef struct pleat_context pleat_context;

/* The id of a token: 0 or more, below the size of the vocabulary. */
typedef int32_t pleat_token;

/* Opens a model of any format that Pleat reads. Its files must not change while it is open.

   path               a file or a folder, in UTF-8
   memory_byte_count  how many bytes of weights may stay in memory, for all contexts; others are read
                      again for each token. 0 for half of the machine's memory. It does not change a
                      result
   model              receives the handle */
pleat_status pleat_model_open(const char *path, size_t memory_byte_count, pleat_model **model,
                              pleat_error *error);

/* Closes a model. Its contexts can still be used: the files are closed with the last of them.
   NULL is nothing to close. */
pleat_status pleat_model_close(pleat_model *model, pleat_error *error);

/* The number of logits of a token; 0 if the model is not open. */
size_t pleat_vocabulary_size(const pleat_model *model);

/* The number of positions that the model was trained for; 0 if the model is not open. */
size_t pleat_trained_length(const pleat_model *model);

/* 1 if a token ends texts or turns; 0 if not, and if the model is not open. */
int pleat_ends_text(const pleat_model *model, pleat_token token);

/* The tokens of a text, to be continued: the token that begins texts comes first if the tokenizer
   adds it, and special tokens that are written in the text count as such.

   text        UTF-8 without a 0 at the end; other bytes count as U+FFFD; NULL if byte_count is 0
   byte_count  the number of its bytes
   tokens      receives the tokens; NULL if capacity is 0
   capacity    the number of tokens that fit there
   count       receives the number of tokens, also with PLEAT_TOO_SMALL, when none are written */
pleat_status pleat_tokenize(const pleat_model *model, const char *text, size_t byte_count,
                            pleat_token *tokens, size_t capacity, size_t *count,
                            pleat_error *error);

/* A message of a conversation; both texts are UTF-8 that ends in 0, and other bytes count as
   U+FFFD. */
typedef struct pleat_message {
  const char *role;    /* who says it, in a word that the chat template knows, such as "user" */
  const char *content; /* what is said */
} pleat_message;

/* The tokens of a conversation as the chat template of the model writes it, up to the start of the
   answer. No token comes before those of the template. PLEAT_UNSUPPORTED says that the model has no
   chat template, or one that Pleat does not run; PLEAT_USAGE may say that the template refuses the
   messages.

   messages       the messages, in their order
   message_count  the number of them, 1 or more
   date           the day that a template may write as the current one, such as "2026-11-30"; NULL
                  for none, when a template that asks for it is refused
   tokens, capacity, count
                  as in pleat_tokenize */
pleat_status pleat_tokenize_chat(const pleat_model *model, const pleat_message *messages,
                                 size_t message_count, const char *date, pleat_token *tokens,
                                 size_t capacity, size_t *count, pleat_error *error);

/* The bytes of the text of a token in UTF-8, which may be a part of a character; a token may have
   none.

   bytes     receives them, without a 0 at the end; NULL if capacity is 0
   capacity  the number of bytes that fit there
   count     receives the number of bytes, also with PLEAT_TOO_SMALL, when none are written */
pleat_status pleat_token_text(const pleat_model *model, pleat_token token, char *bytes,
                              size_t capacity, size_t *count, pleat_error *error);

/* Creates an empty text, and reserves memory for the keys and values of its tokens. PLEAT_LIMIT
   says that the machine has less.

   capacity      the number of tokens that the text may have, 1 or more
   thread_count  the number of threads that compute; 0 for one per processor. It does not change the
                 result
   context       receives the handle */
pleat_status pleat_context_open(const pleat_model *model, size_t capacity, size_t thread_count,
                                pleat_context **context, pleat_error *error);

/* Closes a context. Calls of other threads that use it go on to their end. NULL is nothing to
   close. */
pleat_status pleat_context_close(pleat_context *context, pleat_error *error);

/* The number of tokens of the text so far; 0 if the context is not open. */
size_t pleat_context_length(const pleat_context *context);

/* Adds tokens to the text, and computes logits. If it fails, the text is as it was.

   tokens       the tokens, one or more; they are read only if the context has room for them
   count        the number of them
   logits       receives float32 numbers, for each of the last tokens as many as the vocabulary has:
                how probable each token is to be the next one, before the softmax; NULL if
                logit_count is 0
   logit_count  the number of these numbers: a multiple of the size of the vocabulary. With 0 none
                are computed, with that size those of the last token, with `count` times that size
                those of all */
pleat_status pleat_context_append(pleat_context *context, const pleat_token *tokens, size_t count,
                                  float *logits, size_t logit_count, pleat_error *error);

/* Removes all tokens after the first `length`, which may be followed by others then. A model with
   states, such as Qwen 3.5, may compute the rest of the text again with the next tokens. */
pleat_status pleat_context_truncate(pleat_context *context, size_t length, pleat_error *error);

#ifdef __cplusplus
}
#endif

#endif
