// A parse error is a value here: with TOML_EXCEPTIONS=0 toml++ returns it.
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
// `[.a]` breaks an assumption of toml++ that is checked right behind it: as an assertion it would end the process, and
// with NDEBUG it is undefined behaviour. It is nothing here.
#undef NDEBUG
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>

#include "CTOML.h"

#include <new>
#include <string>
#include <vector>

struct ctoml_document {
    toml::parse_result result;
    std::string error;
    ctoml_position error_position{0, 0};
    std::vector<ctoml_node> nodes;
};

namespace {

// toml++ bounds the nesting of values, but not of dotted keys; a configuration needs five levels.
constexpr int maximum_depth = 64;

ctoml_position position(const toml::source_position &place) { return {place.line, place.column}; }

ctoml_text text(std::string_view view) { return {view.data(), view.size()}; }

ctoml_node describe(const toml::node &source) {
    ctoml_node node{};
    node.begin = position(source.source().begin);
    node.end = position(source.source().end);
    switch (source.type()) {
    case toml::node_type::table:
        node.kind = CTOML_TABLE;
        node.child_count = source.as_table()->size();
        break;
    case toml::node_type::array:
        node.kind = CTOML_ARRAY;
        node.child_count = source.as_array()->size();
        break;
    case toml::node_type::string:
        node.kind = CTOML_STRING;
        node.string = text(source.as_string()->get());
        break;
    case toml::node_type::integer:
        node.kind = CTOML_INTEGER;
        node.integer = source.as_integer()->get();
        break;
    case toml::node_type::floating_point:
        node.kind = CTOML_FLOAT;
        node.number = source.as_floating_point()->get();
        break;
    case toml::node_type::boolean:
        node.kind = CTOML_BOOLEAN;
        node.boolean = source.as_boolean()->get();
        break;
    default:
        node.kind = CTOML_DATE_TIME;
    }
    return node;
}

// Appends the node and all below it; false when the tree is too deep.
bool flatten(ctoml_document &document, const toml::node &source, const toml::key *key, int depth) {
    if (depth > maximum_depth) {
        document.error = "tables and arrays are nested more than 64 deep";
        document.error_position = position(source.source().begin);
        return false;
    }
    ctoml_node node = describe(source);
    if (key != nullptr) {
        node.key = text(key->str());
        node.key_begin = position(key->source().begin);
    }
    document.nodes.push_back(node);
    if (const toml::table *table = source.as_table()) {
        for (auto entry = table->cbegin(); entry != table->cend(); ++entry)
            if (!flatten(document, entry->second, &entry->first, depth + 1)) return false;
    } else if (const toml::array *array = source.as_array()) {
        for (const toml::node &element : *array)
            if (!flatten(document, element, nullptr, depth + 1)) return false;
    }
    return true;
}

void parse(ctoml_document &document, const char *bytes, size_t size) {
    document.result = toml::parse(std::string_view{bytes, size});
    if (document.result.failed()) {
        document.error = std::string{document.result.error().description()};
        document.error_position = position(document.result.error().source().begin);
    } else if (!flatten(document, document.result.table(), nullptr, 0)) {
        document.nodes.clear();
    }
}

} // namespace

ctoml_document *ctoml_parse(const char *bytes, size_t size) {
    ctoml_document *document = nullptr;
    try {
        document = new ctoml_document{};
        parse(*document, bytes, size);
        return document;
    } catch (...) { // only std::bad_alloc is left
        delete document;
        return nullptr;
    }
}

void ctoml_free(ctoml_document *document) { delete document; }

bool ctoml_failed(const ctoml_document *document) { return document->nodes.empty(); }

ctoml_text ctoml_error_message(const ctoml_document *document) { return text(document->error); }

ctoml_position ctoml_error_position(const ctoml_document *document) { return document->error_position; }

size_t ctoml_node_count(const ctoml_document *document) { return document->nodes.size(); }

ctoml_node ctoml_node_at(const ctoml_document *document, size_t index) { return document->nodes[index]; }
