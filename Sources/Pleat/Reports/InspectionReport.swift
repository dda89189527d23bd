public import Bytes
internal import Formats
internal import Kernels
public import TensorModel

extension Inspection {
  /// What was found, as JSON; `formats/report.md` describes it.
  ///
  /// - Parameters:
  ///   - tensors: Indices of the tensors to list, in order; nil lists none.
  ///   - statistics: What is known of the weights of tensors, by index.
  ///   - showsMetadata: Whether metadata is listed in full.
  /// - Returns: An object with the schema `pleat.inspect.1`.
  public func json(
    tensors: [Int]?, statistics: [Int: TensorStatistics], showsMetadata: Bool
  ) -> JSONValue {
    var members: [JSONValue.Member] = [
      .init("schema", "pleat.inspect.1"),
      .init("path", .string(model.path)),
      .init("format", .string(model.format.name)),
      .init("kind", .string(model.isAdapter ? "adapter" : "model")),
      .init("architecture", architecture.map { .string($0) } ?? .null),
      .init("fileCount", JSONValue(model.fileCount)),
      .init("byteCount", JSONValue(model.byteCount)),
      .init("weightCount", JSONValue(model.catalog.elementCount)),
      .init("bitsPerWeight", .number(bitsPerWeight)),
      .init("encodings", .array(encodings.map(\.json))),
      .init("metadataCount", JSONValue(model.catalog.metadata.entries.count)),
      .init(
        "companions",
        .array(
          model.catalog.companions.map {
            ["name": .string($0.name), "byteCount": JSONValue($0.byteCount)]
          })),
    ]
    if !adapters.isEmpty { members.append(.init("adapters", .array(adapters.map(\.json)))) }
    if let adapterFault { members.append(.init("adapterFault", adapterFault.json)) }
    if let provenance = model.reader.provenance {
      members.append(
        .init(
          "sources",
          .array(
            provenance.sources.map {
              [
                "name": .string($0.name), "byteCount": JSONValue($0.byteCount),
                "crc32c": .string($0.checksum.text),
              ]
            })))
      members.append(.init("history", .array(provenance.history)))
    }
    if showsMetadata {
      members.append(
        .init(
          "metadata",
          .array(
            model.catalog.metadata.entries.map {
              ["key": .string($0.key), "type": .string("\($0.value.type)"), "value": $0.value.json]
            })))
    }
    if let tensors {
      members.append(.init("tensors", .array(tensors.map { json($0, statistics[$0]) })))
    }
    return .object(members)
  }

  private func json(_ index: Int, _ statistics: TensorStatistics?) -> JSONValue {
    let tensor = model.catalog.tensors[index]
    var members: [JSONValue.Member] = [
      .init("name", .string(tensor.name)), .init("shape", tensor.shape.json),
    ]
    if model.format == .gguf {
      members.append(
        .init("storedShape", .array(tensor.shape.dimensions.reversed().map { JSONValue($0) })))
    }
    members.append(.init("encoding", tensor.encoding.json))
    members.append(.init("byteCount", JSONValue(model.storedByteCount(of: index))))
    if let statistics { members.append(.init("statistics", statistics.json)) }
    return .object(members)
  }

  /// Where the model comes from, a line each; empty when the file does not say.
  public var provenanceLines: [String] {
    guard let provenance = model.reader.provenance else { return [] }
    return provenance.sources.map {
      "\($0.name), \($0.byteCount) bytes, crc32c \($0.checksum.text)"
    }
      + provenance.history.map(Self.line)
  }

  /// An entry of the history in words: its action, then what else is known of it.
  private static func line(_ entry: JSONValue) -> String {
    func words(_ value: JSONValue) -> String {
      if let list = value.array { return list.map(words).joined(separator: "; ") }
      guard let members = value.members else { return value.string ?? JSONWriter.text(value) }
      return members.filter { $0.key != "action" }.map { member in
        member.value.members == nil ? "\(member.key) \(words(member.value))" : words(member.value)
      }.joined(separator: ", ")
    }
    return "\(entry["action"]?.string ?? "changed"): \(words(entry))"
  }
}

extension Inspection.EncodingSummary {
  fileprivate var json: JSONValue {
    [
      "encoding": encoding.json, "tensorCount": JSONValue(tensorCount),
      "weightCount": JSONValue(elementCount), "byteCount": JSONValue(byteCount),
    ]
  }
}

extension AdapterSummary {
  fileprivate var json: JSONValue {
    [
      "name": .string(name), "kind": .string(kind.rawValue), "method": .string(method),
      "ranks": .array(ranks.map { JSONValue($0) }), "scales": .array(scales.map { .number($0) }),
      "groupSize": groupSize.map { JSONValue($0) } ?? .null,
      "pooling": pooling.map { .string($0.rawValue) } ?? .null,
      "targets": .array(targets.map { .string($0) }), "productCount": JSONValue(productCount),
      "vectorCount": JSONValue(vectorCount), "replacementCount": JSONValue(replacementCount),
    ]
  }
}

extension TensorStatistics {
  fileprivate var json: JSONValue {
    [
      "minimum": .number(Double(minimum)), "maximum": .number(Double(maximum)),
      "mean": .number(mean), "standardDeviation": .number(standardDeviation),
      "nanCount": JSONValue(nanCount), "infinityCount": JSONValue(infinityCount),
      "histogram": .array(histogram.map { JSONValue($0) }),
    ]
  }
}

extension MetadataValue {
  /// The value; of arrays the type and the length only.
  var json: JSONValue {
    switch self {
    case .unsigned(let value, _): Int64(exactly: value).map { .integer($0) } ?? .string("\(value)")
    case .signed(let value, _): .integer(value)
    case .float(let value): .number(Double(value))
    case .double(let value): .number(value)
    case .bool(let value): .bool(value)
    case .string: .string(text ?? "")
    case .array(let array):
      ["elementType": .string("\(array.elementType)"), "count": JSONValue(array.count)]
    }
  }

  /// The value for people; of arrays the type and the length.
  public var summary: String {
    if case .array(let array) = self { return "\(array.count) × \(array.elementType)" }
    return text ?? JSONWriter.text(json)
  }
}
