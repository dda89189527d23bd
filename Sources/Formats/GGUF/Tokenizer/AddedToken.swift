internal import Bytes
internal import TensorModel

/// A token that a tokenizer finds in a text before it splits the text.
struct AddedToken {
  /// The id of the token; -1 until it gets one if no file states it.
  var id: Int
  /// Whether a file states an id of the token.
  let isStated: Bool
  /// The text of the token.
  var text: String
  /// Whether it is a control token instead of text.
  var isSpecial: Bool
  /// Whether it strips adjacent spaces or matches only whole words, which llama.cpp does not support.
  var hasMatchingOptions: Bool

  /// Reads an added token of tokenizer.json; `id` is given if it is the key of the token.
  ///
  /// Throws `malformed`.
  init(_ value: JSONValue, id: Int? = nil, file: String) throws(ModelError) {
    guard let id = id ?? value["id"]?.int, let text = value["content"]?.string,
      (0...Int(Int32.max)).contains(id), !text.isEmpty
    else {
      throw ModelError(
        .malformed, "an added token is invalid", file: file,
        expected: "an id that is not negative, and a text",
        found: String(JSONWriter.text(value).prefix(100)))
    }
    self.id = id
    isStated = true
    self.text = text
    isSpecial = value["special"]?.bool ?? false
    hasMatchingOptions = ["lstrip", "rstrip", "single_word"].contains { value[$0]?.bool == true }
  }

  /// Creates a token of a file that states only its text, and perhaps its id.
  init(id: Int = -1, text: String, isSpecial: Bool = false) {
    self.id = id
    isStated = id >= 0
    self.text = text
    self.isSpecial = isSpecial
    hasMatchingOptions = false
  }

  /// Whether the text looks like that of a special token.
  ///
  /// Some models do not mark their special tokens. The list is that of llama.cpp's converter.
  var looksSpecial: Bool {
    func isBetween(_ start: String, _ end: String) -> Bool {
      text.utf8.starts(with: start.utf8) && text.utf8.reversed().starts(with: end.utf8.reversed())
    }
    return ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(text) || isBetween("<|", "|>")
      || isBetween("<｜", "｜>") || isBetween("<unused", ">")
  }
}
