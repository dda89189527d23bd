internal import Formats

/// The normalization of llama.cpp before unigrams: a table of characters, then ▁ for spaces.
struct LlamaPieceNormalizer: Sendable {
  private let steps: LlamaPieces

  private static let mark = Array("▁".utf8)

  init(_ steps: LlamaPieces) { self.steps = steps }

  /// The normalized form of valid UTF-8.
  func normalized(_ text: [UInt8]) -> [UInt8] {
    var output = Output(steps: steps)
    output.text.reserveCapacity(text.count * 5 / 4 + Self.mark.count)
    var index = 0
    while index < text.count {
      if let new = steps.characterMap?.replacement(ofLongestPrefixOf: text, from: index) {
        for byte in new.text { output.append(byte) }
        index += new.length
      } else {
        let end = index + text.scalar(at: index).length
        while index < end {
          output.append(text[index])
          index += 1
        }
      }
    }
    return output.text
  }

  private struct Output {
    let steps: LlamaPieces
    var text: [UInt8] = []
    private var isInWord = false
    private var hasMark = false

    init(steps: LlamaPieces) { self.steps = steps }

    mutating func append(_ byte: UInt8) {
      guard byte != UInt8(ascii: " ") else {
        isInWord = false
        if !steps.mergesSpaces { text += mark }
        return
      }
      if !isInWord, steps.addsSpace && !hasMark || steps.mergesSpaces {
        text += mark
        hasMark = true
      }
      isInWord = true
      text.append(byte)
    }
  }
}
