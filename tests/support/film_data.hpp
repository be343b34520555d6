// Films that words tell good from bad, for tests that train reward models.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "vbon/io/jsonl.hpp"

namespace vbon::test {
struct FilmTexts {
  std::vector<std::string> good, bad;  // beginning with a space
};
/// 24 texts of each kind, of 2 to 5 words that every tokenizer of the tests knows.
inline FilmTexts film_texts() {
  FilmTexts texts;
  for (const std::string begin : {" the film is", " a film is", " the film", " film is", " is", " a film"})
    for (const std::string middle : {"", " not a", " a", " the"}) {
      texts.good.push_back(begin + middle + (texts.good.size() % 2 == 0 ? " good" : " great"));
      texts.bad.push_back(begin + middle + (texts.bad.size() % 2 == 0 ? " bad" : " dull"));
    }
  return texts;
}
/// JSON lines {"text", "score"}: `good` and `bad` are the scores.
inline void write_film_scores(const std::filesystem::path& file, double good = 1, double bad = -1) {
  io::JsonlWriter out(file);
  const FilmTexts texts = film_texts();
  for (std::size_t i = 0; i < texts.good.size(); ++i) {
    out.append(io::Json{{"text", texts.good[i]}, {"score", good}});
    out.append(io::Json{{"text", texts.bad[i]}, {"score", bad}});
  }
}
/// JSON lines {"prompt", "chosen", "rejected"}.
inline void write_film_pairs(const std::filesystem::path& file) {
  io::JsonlWriter out(file);
  const FilmTexts texts = film_texts();
  for (std::size_t i = 0; i < texts.good.size(); ++i)
    out.append(io::Json{
        {"prompt", std::string(1, static_cast<char>('a' + i))}, {"chosen", texts.good[i]}, {"rejected", texts.bad[i]}});
}
}  // namespace vbon::test
