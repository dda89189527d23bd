internal import Adapters
internal import Bytes
internal import Formats
internal import TensorModel

extension Model {
  /// What adapters change, by the index of the tensor.
  ///
  /// Throws `mismatch` and `usage` for adapters that do not fit.
  func changes(by uses: [AdapterUse]) throws(ModelError) -> [Int: [PairedChange]] {
    var changes: [Int: [PairedChange]] = [:]
    for change in try pairs(with: uses) { changes[change.tensor, default: []].append(change) }
    return changes
  }

  /// The changes of adapters with the tensors that they are for, one adapter after another.
  ///
  /// Throws `mismatch` and `usage` for adapters that do not fit.
  func pairs(with uses: [AdapterUse]) throws(ModelError) -> [PairedChange] {
    let pairing = Pairing(
      try baseTensors(), prefersTransposedExperts: try hasTransposedExperts())
    let architecture = try ggufArchitecture()
    var pairs: [PairedChange] = []
    for (index, use) in uses.enumerated() {
      try Self.check(use.file, architecture)
      let paired = try pairing.pair(
        use.file.adapter,
        Pairing.Use(index: index, strength: use.scale, pooling: use.pooling))
      for change in paired { try Self.checkStrength(change, use) }
      pairs += paired
    }
    if let use = uses.first(where: { $0.pooling != nil }),
      !pairs.contains(where: { $0.groupSize != nil })
    {
      throw ModelError(
        .usage, "the adapter pools no inputs", file: use.file.adapter.path,
        found: "--pooling \(use.pooling?.rawValue ?? "")", hint: "leave --pooling out")
    }
    return pairs
  }

  /// What a user should know of adapters that are folded into the model.
  func notes(on uses: [AdapterUse], _ changes: [Int: [PairedChange]]) -> [String] {
    var notes = uses.flatMap(\.file.adapter.notes)
    notes += uses.indices.compactMap { repeated($0, of: uses) }
    let pooled = Set(changes.values.joined().filter { $0.groupSize != nil }.map(\.adapter))
    for index in pooled.sorted() {
      if let pooling = uses[index].file.adapter.pooling ?? uses[index].pooling {
        notes.append("\(uses[index].file.name) pools inputs as \(pooling.summary)")
      }
    }
    return notes
  }

  /// A warning when the history, or this command, has the adapter already, and it is not taken back.
  private func repeated(_ index: Int, of uses: [AdapterUse]) -> String? {
    let use = uses[index]
    var total = uses[..<index].filter { $0.file.checksum == use.file.checksum }
      .reduce(0) { $0 + $1.scale }
    for adapter in history.flatMap({ $0["adapters"]?.array ?? [] })
    where adapter["crc32c"]?.string == use.file.checksum {
      total += adapter["scale"]?.double ?? 1
    }
    guard abs(total) > 1e-9, abs(total + use.scale) > 1e-9 else { return nil }
    return "\(use.file.name) is folded into the base already, with scale \(total)"
  }

  private static func check(_ file: AdapterFile, _ architecture: String?) throws(ModelError) {
    guard let architecture, let own = file.config["general.architecture"]?.string,
      own != architecture
    else { return }
    throw ModelError(
      .mismatch, "the adapter is for another architecture", file: file.adapter.path,
      expected: architecture, found: own)
  }

  private static func checkStrength(
    _ change: PairedChange, _ use: AdapterUse
  ) throws(ModelError) {
    guard use.scale != 1 else { return }
    let what: String
    if change.isReplacement {
      what = "an adapter that replaces tensors"
    } else if change.lowRank?.magnitude != nil {
      what = "a DoRA adapter"
    } else {
      return
    }
    throw ModelError(
      .unsupported, "\(what) has one strength only", file: use.file.adapter.path,
      tensor: change.tensors(of: use.file.adapter).first, expected: "--scale 1",
      found: "--scale \(use.scale)")
  }
}
