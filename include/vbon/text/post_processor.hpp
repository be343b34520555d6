// vbon/text/post_processor.hpp
//
// The last step of encoding: special tokens around one or two sequences, and the type of each token. Built
// from the "post_processor" part of a tokenizer.json.
// Source: the components of Hugging Face tokenizers.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"
#include "vbon/io/json.hpp"
#include "vbon/text/normalizer.hpp"

namespace vbon::text {
/// One input of a model, all of one length.
struct Encoding {
  std::vector<TokenId> ids;
  std::vector<int> type_ids;        // 0 for the first sequence, 1 for the second (as the file says)
  std::vector<int> special_mask;    // 1 where a token was not in the text
  std::vector<int> attention_mask;  // 0 at padding
};

class PostProcessor {
 public:
  PostProcessor() = default;
  /// @param part       the "post_processor" of a tokenizer.json; null for none
  /// @param id_end     one above the largest id
  /// @throws FormatError for a kind that is not known, or a token id that does not exist
  template <class = void>
  PostProcessor(const io::Json& part, TokenId id_end, std::string_view where) : id_end_(id_end) {
    if (!part.is_null()) add(part, std::string(where) + ": post_processor");
  }

  /// How many special tokens are added.
  std::size_t added(bool pair) const {
    std::size_t count = 0;
    for (const Piece& piece : pair ? pair_ : single_) count += piece.sequence < 0 ? piece.ids.size() : 0;
    return count;
  }
  template <class = void>
  Encoding operator()(const std::vector<TokenId>& a, const std::vector<TokenId>* b, bool add_special) const {
    Encoding out;
    for (const Piece& piece : b != nullptr ? pair_ : single_) {
      const bool special = piece.sequence < 0;
      if (special && !add_special) continue;
      const auto& ids = special ? piece.ids : piece.sequence == 0 ? a : *b;
      out.ids.insert(out.ids.end(), ids.begin(), ids.end());
      out.type_ids.insert(out.type_ids.end(), ids.size(), piece.type);
      out.special_mask.insert(out.special_mask.end(), ids.size(), special);
    }
    out.attention_mask.assign(out.ids.size(), 1);
    return out;
  }

 private:
  struct Piece {
    int sequence;  // 0 or 1; -1 for special tokens
    int type;
    std::vector<TokenId> ids;
  };

  template <class = void>
  void add(const io::Json& part, const std::string& where) {
    const std::string type = detail::component_type(part, where);
    if (type == "Sequence") {
      for (const io::Json& inner : detail::component_list(part, "processors", where)) add(inner, where);
    } else if (type == "ByteLevel") {
      // changes offsets only
    } else if (type == "TemplateProcessing") {
      single_ = read_template(part, "single", where);
      pair_ = read_template(part, "pair", where);
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      const std::vector<TokenId> sep = {pair_id(part, "sep", where)}, cls = {pair_id(part, "cls", where)};
      single_ = {{-1, 0, cls}, {0, 0, {}}, {-1, 0, sep}};
      if (type == "BertProcessing")
        pair_ = {{-1, 0, cls}, {0, 0, {}}, {-1, 0, sep}, {1, 1, {}}, {-1, 1, sep}};
      else
        pair_ = {{-1, 0, cls}, {0, 0, {}}, {-1, 0, sep}, {-1, 0, sep}, {1, 0, {}}, {-1, 0, sep}};
    } else {
      throw FormatError(
          message(where, ": the kind \"", type,
                  "\" is not supported; known: TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, Sequence"));
    }
  }
  template <class = void>
  TokenId check_id(const io::Json& value, const std::string& where) const {
    const auto id = io::json_as<TokenId>(value, where);
    require<FormatError>(id >= 0 && id < id_end_, where, ": there is no token ", id);
    return id;
  }
  /// ["[SEP]", 102]
  template <class = void>
  TokenId pair_id(const io::Json& part, std::string_view key, const std::string& where) const {
    const io::Json* pair = io::json_find(part, key);
    require<FormatError>(pair != nullptr && pair->is_array() && pair->size() == 2, where, ": the field \"", key,
                         "\" must be [token, id]");
    return check_id((*pair)[1], where);
  }
  template <class = void>
  std::vector<Piece> read_template(const io::Json& part, std::string_view key, const std::string& where) const {
    std::vector<Piece> pieces;
    const bool pair = key == "pair";
    bool seen[2] = {false, !pair};
    for (const io::Json& item : detail::component_list(part, key, where)) {
      if (const io::Json* sequence = io::json_find(item, "Sequence")) {
        const auto id = io::json_get<std::string>(*sequence, "id", where);
        require<FormatError>(id == "A" || (pair && id == "B"), where, ": ", key, ": unknown sequence \"", id, "\"");
        const int which = id == "B";
        seen[which] = true;
        pieces.push_back({which, io::json_get<int>(*sequence, "type_id", where), {}});
      } else {
        const io::Json* special = io::json_find(item, "SpecialToken");
        require<FormatError>(special != nullptr, where, ": ", key, ": a Sequence or a SpecialToken was expected");
        const auto name = io::json_get<std::string>(*special, "id", where);
        const io::Json* known = io::json_find(part, "special_tokens");
        const io::Json* token = known == nullptr ? nullptr : io::json_find(*known, name);
        require<FormatError>(token != nullptr, where, ": \"", name, "\" is missing in special_tokens");
        Piece piece{-1, io::json_get<int>(*special, "type_id", where), {}};
        for (const io::Json& id : detail::component_list(*token, "ids", where)) piece.ids.push_back(check_id(id, where));
        pieces.push_back(std::move(piece));
      }
    }
    require<FormatError>(seen[0] && seen[1], where, ": ", key, ": the template lacks a sequence");
    return pieces;
  }

  TokenId id_end_ = 0;
  std::vector<Piece> single_ = {{0, 0, {}}};
  std::vector<Piece> pair_ = {{0, 0, {}}, {1, 1, {}}};
};
}  // namespace vbon::text
