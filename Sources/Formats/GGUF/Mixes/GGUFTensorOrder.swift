/// The order in which llama-quantize counts and writes tensors: by layer, then by name.
package enum GGUFTensorOrder {
  /// The indices of names in this order.
  package static func indices(of names: [String]) -> [Int] {
    let keys = names.map { (layer: layer(of: $0) ?? -1, name: $0) }
    return keys.indices.sorted { left, right in
      let (left, right) = (keys[left], keys[right])
      if left.layer != right.layer { return left.layer < right.layer }
      return left.name.utf8.lexicographicallyPrecedes(right.name.utf8)
    }
  }

  /// The number N of the layer in a name that begins with `blk.N`; nil for other names.
  static func layer(of name: String) -> Int? {
    guard name.utf8.starts(with: prefix.utf8) else { return nil }
    let digits = name.utf8.dropFirst(prefix.utf8.count).prefix { 48...57 ~= $0 }
    return Int(String(digits) ?? "")
  }

  private static let prefix = "blk."
}
