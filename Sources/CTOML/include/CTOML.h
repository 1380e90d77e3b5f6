#pragma once

/* A C door to toml++: a document is parsed once into a flat list of nodes, in the order a reader walks the tree
 * (a container, then its children, each followed by its own). No exception leaves these functions. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    CTOML_TABLE,
    CTOML_ARRAY,
    CTOML_STRING,
    CTOML_INTEGER,
    CTOML_FLOAT,
    CTOML_BOOLEAN,
    CTOML_DATE_TIME,
} ctoml_kind;

/* From 1; columns count code points. 0 = unknown. */
typedef struct {
    uint32_t line;
    uint32_t column;
} ctoml_position;

/* Bytes of the document, in UTF-8, not ended by a zero: valid until ctoml_free. */
typedef struct {
    const char *bytes;
    size_t count;
} ctoml_text;

typedef struct {
    ctoml_kind kind;
    ctoml_position begin;
    ctoml_position end;
    /* The key under which a table holds this node; empty text for the root and the elements of an array. */
    ctoml_text key;
    ctoml_position key_begin;
    /* Direct children of a table or an array. */
    size_t child_count;
    /* The value, by kind. */
    ctoml_text string;
    int64_t integer;
    double number;
    bool boolean;
} ctoml_node;

typedef struct ctoml_document ctoml_document;

/* Parses UTF-8 text. NULL only when memory runs out. */
ctoml_document *ctoml_parse(const char *text, size_t size);

void ctoml_free(ctoml_document *document);

/* Whether the text is not TOML; then there are no nodes, and the next two tell why. */
bool ctoml_failed(const ctoml_document *document);
ctoml_text ctoml_error_message(const ctoml_document *document);
ctoml_position ctoml_error_position(const ctoml_document *document);

/* How many nodes there are; the first is the root table. */
size_t ctoml_node_count(const ctoml_document *document);

/* The node at an index below the count. */
ctoml_node ctoml_node_at(const ctoml_document *document, size_t index);

#ifdef __cplusplus
}
#endif
