internal import Bytes
internal import TensorModel

/// A token that a tokenizer finds in a text before it splits the text.
package struct AddedToken: Sendable {
  /// The id of the token; -1 until it gets one if no file states it.
  package internal(set) var id: Int
  /// Whether a file states an id of the token.
  let isStated: Bool
  /// The text of the token.
  package internal(set) var text: String
  /// Whether it is a control token instead of text.
  package internal(set) var isSpecial: Bool
  /// Whether it is found in the normalized text instead of the text as written.
  package let isNormalized: Bool
  /// Whether it takes away the spaces before it.
  package let stripsLeft: Bool
  /// Whether it takes away the spaces after it.
  package let stripsRight: Bool
  /// Whether it is found only where no letter or digit is beside it.
  package let isWholeWord: Bool

  /// Whether it strips adjacent spaces or matches only whole words, which llama.cpp does not support.
  var hasMatchingOptions: Bool { stripsLeft || stripsRight || isWholeWord }

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
    isNormalized = value["normalized"]?.bool ?? !isSpecial
    stripsLeft = value["lstrip"]?.bool ?? false
    stripsRight = value["rstrip"]?.bool ?? false
    isWholeWord = value["single_word"]?.bool ?? false
  }

  /// Creates a token of a file that states only its text, and perhaps its id.
  init(id: Int = -1, text: String, isSpecial: Bool = false) {
    self.id = id
    isStated = id >= 0
    self.text = text
    self.isSpecial = isSpecial
    isNormalized = !isSpecial
    (stripsLeft, stripsRight, isWholeWord) = (false, false, false)
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
