package import TensorModel

/// The tensors of a checkpoint in families: those of one shape whose names differ only in the number
/// of an expert.
///
/// A mixture has hundreds of experts in each layer, and few families. So tables are searched once for
/// each family. The number is the word after `experts`, which occurs once in the name.
package struct TensorFamilies: Sendable {
  /// Tensors of one shape, under names that differ in the number of an expert.
  package struct Family: Sendable {
    /// The name, with `*` for the number if the tensors have one.
    package let pattern: String
    /// The index of the first of the tensors.
    package let first: Int
    /// Whether the tensors are those of experts; otherwise there is one.
    package let isOfExperts: Bool
  }

  /// The tensors.
  package let tensors: [TensorInfo]
  /// The families, in the order of their first tensors.
  package private(set) var families: [Family] = []
  /// For each tensor the index of its family, and the number of the expert if it is of one.
  package private(set) var members: [(family: Int, expert: Int?)] = []

  /// Finds the families of some tensors.
  package init(_ tensors: [TensorInfo]) {
    self.tensors = tensors
    members.reserveCapacity(tensors.count)
    var known: [FamilyName: Int] = [:]
    for (index, tensor) in tensors.enumerated() {
      let name = FamilyName(tensor.name)
      guard let expert = name.expert else {
        members.append((families.count, nil))
        families.append(Family(pattern: tensor.name, first: index, isOfExperts: false))
        continue
      }
      if let family = known[name], tensors[families[family].first].shape == tensor.shape {
        members.append((family, expert))
        continue
      }
      known[name] = families.count
      members.append((families.count, expert))
      families.append(Family(pattern: name.pattern, first: index, isOfExperts: true))
    }
  }

  /// The first tensor of each family.
  package var representatives: some Collection<TensorInfo> {
    families.lazy.map { tensors[$0.first] }
  }
}

/// A name that equals all those with another number of an expert.
private struct FamilyName: Hashable {
  let text: String
  /// The number of the expert; nil without one.
  let expert: Int?
  /// The bytes of the number; empty without one.
  private let digits: Range<Int>
  private let hash: Int

  private static let word = Array("experts.".utf8)
  /// Numbers of more digits are no numbers of experts.
  private static let digitLimit = 9

  init(_ text: String) {
    self.text = text
    var (bytes, hasher) = (text, Hasher())
    // The hasher reads the bytes during the call.
    let (digits, expert) = bytes.withUTF8 { buffer in
      guard let (digits, number) = unsafe Self.number(in: buffer) else {
        return (0..<0, nil as Int?)
      }
      let whole = UnsafeRawBufferPointer(buffer)
      unsafe hasher.combine(bytes: .init(rebasing: whole[..<digits.lowerBound]))
      unsafe hasher.combine(bytes: .init(rebasing: whole[digits.upperBound...]))
      return (digits, number)
    }
    (self.digits, self.expert) = (digits, expert)
    hash = hasher.finalize()
  }

  /// The number after the word `experts`, without leading zeros; nil if there is none, or several.
  private static func number(
    in bytes: UnsafeBufferPointer<UInt8>
  ) -> (digits: Range<Int>, number: Int)? {
    let count = bytes.count
    var found: (digits: Range<Int>, number: Int)?
    var start = 0
    // In bounds: `start` and `end` are compared with `count`.
    while start + word.count < count {
      if unsafe bytes[start..<start + word.count].elementsEqual(word) {
        guard found == nil else { return nil }
        start += word.count
        var (end, number) = (start, 0)
        while end < count, end - start < digitLimit, unsafe 48...57 ~= bytes[end] {
          unsafe number = number * 10 + Int(bytes[end] - 48)
          end += 1
        }
        guard end > start, end < count, unsafe bytes[end] == UInt8(ascii: "."),
          unsafe bytes[start] != 48 || end == start + 1
        else { return nil }
        found = (start..<end, number)
      }
      while start < count, unsafe bytes[start] != UInt8(ascii: ".") { start += 1 }
      start += 1
    }
    return found
  }

  /// The name with `*` for the number.
  var pattern: String {
    let bytes = text.utf8
    let start = bytes.index(bytes.startIndex, offsetBy: digits.lowerBound)
    let end = bytes.index(start, offsetBy: digits.count)
    return "\(text[..<start])*\(text[end...])"
  }

  static func == (left: FamilyName, right: FamilyName) -> Bool {
    guard left.hash == right.hash, left.digits.lowerBound == right.digits.lowerBound else {
      return false
    }
    var (one, other) = (left.text, right.text)
    // The bytes are read during the calls. In bounds: `digits` is a range of the text.
    return one.withUTF8 { one in
      other.withUTF8 { other in
        unsafe one[..<left.digits.lowerBound].elementsEqual(other[..<right.digits.lowerBound])
          && one[left.digits.upperBound...].elementsEqual(other[right.digits.upperBound...])
      }
    }
  }

  func hash(into hasher: inout Hasher) { hasher.combine(hash) }
}
