/// The parts of a tensor name: `3`, `attn_q` and `weight` for `blk.3.attn_q.weight`.
struct NameParts {
  /// The digits of the layer number; nil outside of layers.
  let layer: Substring?
  /// The name that the tables contain.
  let stem: Substring
  /// `weight` or `bias`.
  let ending: Substring

  /// Splits a name, with `prefix` before the layer number; nil if it cannot be in a table.
  init?(_ name: Substring, layers prefix: String) {
    // Planning splits each name several times. Bytes are compared much faster than characters.
    let period = UInt8(ascii: ".")
    guard let dot = name.utf8.lastIndex(of: period) else { return nil }
    ending = Substring(name.utf8[dot...].dropFirst())
    guard ending == "weight" || ending == "bias" else { return nil }
    let whole = name[..<dot]
    guard whole.utf8.starts(with: prefix.utf8) else {
      layer = nil
      stem = whole
      return
    }
    let rest = Substring(whole.utf8.dropFirst(prefix.utf8.count))
    let number = Substring(rest.utf8.prefix { $0 != period })
    guard Self.isNumber(number) else { return nil }
    layer = number
    stem = Substring(rest.utf8[number.endIndex...].dropFirst())
  }

  // A number with leading zeros is refused: `3` and `03` would give two tensors the same name.
  static func isNumber(_ text: Substring) -> Bool {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    guard let first = text.utf8.first, text.utf8.allSatisfy(digits.contains) else { return false }
    return first != digits.lowerBound || text.utf8.count == 1
  }

  /// The name with the same layer number and ending, but another prefix and stem.
  func name(_ prefix: String, _ stem: String) -> String {
    (layer.map { "\(prefix)\($0)." } ?? "") + "\(stem).\(ending)"
  }
}
