//! Signs of failures in the log of a function.

/// Words in a log, with their meaning, the remedy, and the field that decides it.
pub(super) struct Sign {
    pub(super) cause: &'static str,
    pub(super) words: &'static [&'static str],
    pub(super) says: &'static str,
    pub(super) remedy: &'static str,
    pub(super) field: &'static str,
}

impl Sign {
    pub(super) fn is_in(&self, line: &str) -> bool {
        self.words.iter().any(|word| line.contains(word))
    }
}

/// The first row that matches a line of the newest invocation with any counts.
pub(super) const SIGNS: &[Sign] = &[
    Sign {
        cause: "function-memory",
        words: &["Runtime.OutOfMemory", "signal: killed", "memory allocation of"],
        says: "it needs more memory than it has",
        remedy: "raise `memory_mb`",
        field: "memory_mb",
    },
    Sign {
        cause: "function-timeout",
        words: &["Task timed out", "Status: timeout"],
        says: "it exceeds its time limit",
        remedy: "raise `timeout_s`, or make it do less per invocation",
        field: "timeout_s",
    },
    Sign {
        cause: "function-import",
        // The report at the end has the type as well, but not the module.
        words: &["Runtime.ImportModuleError: ", "\"Runtime.ImportModuleError\"", "ERR_MODULE_NOT_FOUND"],
        says: "it cannot import a module",
        remedy: "put the file or package into the folder, for the function's runtime and architecture, or correct \
                 `handler`; then run `up`",
        field: "handler",
    },
    Sign {
        cause: "function-handler",
        words: &[
            "Runtime.HandlerNotFound: ",
            "\"Runtime.HandlerNotFound\"",
            "Runtime.MalformedHandlerName: ",
            "\"Runtime.MalformedHandlerName\"",
            "\"Runtime.CallbackHandlerDeprecated\"",
        ],
        says: "its runtime cannot call the handler",
        remedy: "correct `handler`, or the function that it names, and run `up`",
        field: "handler",
    },
    Sign {
        cause: "function-syntax",
        words: &["Runtime.UserCodeSyntaxError: ", "\"Runtime.UserCodeSyntaxError\""],
        says: "its code has a syntax error",
        remedy: "correct the code, and run `up`",
        field: "files",
    },
    Sign {
        cause: "rekognition",
        words: &["rekognition:DetectLabels", "DetectLabels", "InvalidImageFormat", "ImageTooLarge"],
        says: "Rekognition refused a call",
        remedy: "set `uses: { rekognition: true }`, and upload JPEG or PNG only",
        field: "uses.rekognition",
    },
    Sign {
        cause: "function-key",
        words: &[
            "is not authorized to perform: kms:",
            "KMS access was denied",
            "KMSAccessDenied",
            "KMSDisabled",
            "KMSInvalidState",
            "KMSNotFound",
            "KMS.Disabled",
            "KMS.NotFound",
        ],
        says: "it cannot use a key of KMS",
        remedy: "enable the key, or cancel its deletion, and allow the function's role to use it in the key's policy; `up` \
                 restores the role's policy",
        field: "uses",
    },
    Sign {
        cause: "function-denied",
        words: &["is not authorized to perform", "AccessDenied"],
        says: "it lacks a permission",
        remedy: "add what it uses to `uses`, and run `up`",
        field: "uses",
    },
    Sign {
        cause: "function-crash",
        words: &["Runtime.ExitError", "Runtime.InvalidEntrypoint", "Runtime exited", "panicked at"],
        says: "it exits",
        remedy: "correct the function, and run `up`",
        field: "package",
    },
    Sign {
        cause: "function-error",
        words: &["\"level\":\"ERROR\"", "errorMessage", "[ERROR]"],
        says: "it fails",
        remedy: "correct the function, and run `up`",
        field: "package",
    },
];
