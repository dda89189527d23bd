internal import Bytes
internal import Kernels
internal import TensorModel

/// The state of reading the JSON of a pleat header; the format requires to ignore unknown keys.
struct PleatFileHeaderReading {
  let file: String
  let limits: ReadLimits
  var companions: [(name: String, part: PleatFileHeader.Part)] = []
  var metadata = (count: 0, part: PleatFileHeader.Part(byteCount: 0))
  var tensors: [PleatFileHeader.Tensor] = []
  var adapters: [PleatFileHeader.Adapter] = []
  var provenance = Provenance()
  private var names: Set<ExactName> = []
  private var keys: Set<ExactName> = []
  // Strings are compared by Unicode equivalence here, because file systems may do the same.
  private var companionNames: Set<String> = []
  private var adapterNames: Set<String> = []
  private var tensorCount = 0

  init(file: String, limits: ReadLimits) {
    self.file = file
    self.limits = limits
  }

  mutating func member(_ key: String, _ scanner: inout JSONScanner) throws(ModelError) {
    guard keys.insert(ExactName(key)).inserted else {
      throw ModelError(.malformed, "the header has '\(key)' twice", file: file)
    }
    switch key {
    case "requires": try requirements(&scanner)
    case "writer": _ = try scanner.string()
    case "companions":
      try scanner.array { (scanner) throws(ModelError) in
        var draft = PartDraft()
        try scanner.members { (scanner, key) throws(ModelError) in
          try draft.member(key, &scanner)
        }
        let name = try companionName(draft.name)
        companions.append((name, try draft.part(of: name, file, limits)))
      }
      try checkCompanions()
    case "metadata":
      var draft = PartDraft()
      try scanner.members { (scanner, key) throws(ModelError) in try draft.member(key, &scanner) }
      metadata = (draft.count, try draft.part(of: "metadata", file, limits))
    case "tensors":
      names = []
      tensors = try tensorList(&scanner)
    case "adapters":
      try scanner.array { (scanner) throws(ModelError) in try adapter(&scanner) }
    case "provenance": try provenance(&scanner)
    default: try scanner.skip()
    }
  }

  private func checkCompanions() throws(ModelError) {
    let total = companions.reduce(0) { $0 &+ min($1.part.byteCount, 1 << 50) }
    guard total <= limits.companionByteCount else {
      throw ModelError(
        .limit, "the companions are too large", file: file,
        expected: "at most \(limits.companionByteCount) bytes", found: "\(total)")
    }
    let folders = companions.compactMap { CompanionName.folder(of: $0.name) }
    if let folder = folders.first(where: companionNames.contains) {
      throw ModelError(
        .malformed, "a companion file has the name of a folder of companions", file: file,
        found: folder)
    }
  }

  private func requirements(_ scanner: inout JSONScanner) throws(ModelError) {
    try scanner.array { (scanner) throws(ModelError) in
      let name = try scanner.string()
      guard PleatFileHeader.Feature(rawValue: name) != nil else {
        throw ModelError(
          .unsupported, "the file needs a feature that this version does not know", file: file,
          expected: PleatFileHeader.Feature.allCases.map(\.rawValue).joined(separator: ", "),
          found: name, hint: "a newer version of Pleat reads it")
      }
    }
  }

  private mutating func companionName(_ name: String) throws(ModelError) -> String {
    guard CompanionName.isUsable(name), companionNames.insert(name).inserted else {
      throw ModelError(
        .malformed, "the name of a companion file is not usable", file: file,
        expected: "a file name, used once, at most with a folder such as 1_Pooling", found: name)
    }
    return name
  }

  private mutating func tensorList(
    _ scanner: inout JSONScanner
  ) throws(ModelError) -> [PleatFileHeader.Tensor] {
    var list: [PleatFileHeader.Tensor] = []
    try scanner.array { (scanner) throws(ModelError) in list.append(try tensor(&scanner)) }
    return list
  }

  private mutating func adapter(_ scanner: inout JSONScanner) throws(ModelError) {
    var adapter = PleatFileHeader.Adapter(
      name: "", kind: "", config: .null, checksum: "", tensors: [])
    // The names of an adapter's tensors are a separate namespace.
    let outer = names
    names = []
    try scanner.members { (scanner, key) throws(ModelError) in
      switch key {
      case "name": adapter.name = try scanner.string()
      case "kind": adapter.kind = try scanner.string()
      case "config": adapter.config = try JSONParser.parse(try scanner.rawValue(), file: file)
      case "pooling": adapter.pooling = try scanner.string()
      case "crc32c": adapter.checksum = try scanner.string()
      case "tensors": adapter.tensors = try tensorList(&scanner)
      default: try scanner.skip()
      }
    }
    names = outer
    guard !adapter.name.isEmpty, adapterNames.insert(adapter.name).inserted,
      adapter.tensors.allSatisfy({ !$0.info.hasParts })
    else {
      throw ModelError(
        .malformed, "an attached adapter is not usable", file: file, tensor: adapter.name,
        expected: "a name, used once, and tensors that are not quantized")
    }
    adapters.append(adapter)
  }

  private mutating func tensor(
    _ scanner: inout JSONScanner
  ) throws(ModelError) -> PleatFileHeader.Tensor {
    var name = ""
    var extents: [Int] = []
    var encoding = EncodingDraft()
    var drafts: [(String, PartDraft)] = []
    do throws(ModelError) {
      try scanner.members { (scanner, key) throws(ModelError) in
        switch key {
        case "name": name = try scanner.string()
        case "shape": extents = try scanner.counts()
        case "encoding":
          try scanner.members { (scanner, key) throws(ModelError) in
            try encoding.member(key, &scanner)
          }
        case "parts":
          try scanner.members { (scanner, role) throws(ModelError) in
            var draft = PartDraft()
            try scanner.members { (scanner, key) throws(ModelError) in
              try draft.member(key, &scanner)
            }
            drafts.append((role, draft))
          }
        default: try scanner.skip()
        }
      }
      guard names.insert(ExactName(name)).inserted else {
        throw ModelError(.malformed, "the header has the tensor twice")
      }
      tensorCount += 1
      guard tensorCount <= limits.tensorCount else {
        throw ModelError(.limit, "too many tensors", expected: "at most \(limits.tensorCount)")
      }
      return try assemble(name, extents, encoding, drafts)
    } catch {
      throw error.located(file: file, tensor: name)
    }
  }

  private func assemble(
    _ name: String, _ extents: [Int], _ encoding: EncodingDraft, _ drafts: [(String, PartDraft)]
  ) throws(ModelError) -> PleatFileHeader.Tensor {
    guard let shape = Shape(validating: extents) else {
      throw ModelError(.malformed, "the shape overflows", found: "\(extents)")
    }
    let info = TensorInfo(
      name: name, shape: shape, encoding: try encoding.encoding(shape, limits))
    let expected = PleatFileCodec().parts(of: info)
    guard drafts.map(\.0) == expected.map(\.role.rawValue), !expected.isEmpty else {
      throw ModelError(
        .malformed, "the tensor has the wrong parts",
        expected: expected.map(\.role.rawValue).joined(separator: ", "),
        found: drafts.map(\.0).joined(separator: ", "))
    }
    var parts: [PleatFileHeader.Part] = []
    for ((role, draft), stored) in zip(drafts, expected) {
      let part = try draft.part(of: role, file, limits)
      guard part.byteCount == stored.byteCount else {
        throw ModelError(
          .malformed, "the \(role) have the wrong size",
          expected: "\(stored.byteCount) bytes for \(shape) \(info.encoding)",
          found: "\(part.byteCount)")
      }
      parts.append(part)
    }
    return PleatFileHeader.Tensor(info: info, roles: expected.map(\.role), parts: parts)
  }

  private mutating func provenance(_ scanner: inout JSONScanner) throws(ModelError) {
    let document = try JSONParser.parse(try scanner.rawValue(), file: file)
    provenance.history = document["history"]?.array ?? []
    for source in document["sources"]?.array ?? [] {
      guard let name = source["name"]?.string, let byteCount = source["length"]?.int,
        let checksum = source["crc32c"]?.string.flatMap(CRC32C.init(text:))
      else {
        throw ModelError(
          .malformed, "a source in the provenance is incomplete", file: file,
          expected: "name, length and crc32c")
      }
      provenance.sources.append(
        SourceFile(name: name, byteCount: byteCount, checksum: checksum))
    }
  }
}
