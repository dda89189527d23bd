#include "pleat.h"

/* Swift implements the functions; the header is checked here as C. */
_Static_assert(sizeof(pleat_error) == 1024, "expected no padding");
_Static_assert(sizeof(float) == 4 && sizeof(pleat_token) == 4, "expected 32 bits");
