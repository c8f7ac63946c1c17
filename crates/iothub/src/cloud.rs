use serde::Serialize;

/// The clouds that Azure is run in, apart from each other: other names, other authorities, other tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// Azure as most know it.
    #[default]
    Public,
    /// Azure in China, run by 21Vianet.
    China,
    /// Azure for the government of the United States.
    UsGovernment,
}

impl Cloud {
    /// Every cloud.
    pub const ALL: [Self; 3] = [Self::Public, Self::China, Self::UsGovernment];

    /// What host names of hubs end in.
    pub const fn hub_suffix(self) -> &'static str {
        match self {
            Self::Public => ".azure-devices.net",
            Self::China => ".azure-devices.cn",
            Self::UsGovernment => ".azure-devices.us",
        }
    }

    /// Whom to ask for tokens.
    pub const fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::China => "https://login.chinacloudapi.cn",
            Self::UsGovernment => "https://login.microsoftonline.us",
        }
    }

    /// Where Azure Resource Manager is. A token for it is asked for with this address and `/.default`.
    pub const fn resource_manager(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com",
            Self::China => "https://management.chinacloudapi.cn",
            Self::UsGovernment => "https://management.usgovcloudapi.net",
        }
    }

    /// What a token for a hub's data is asked for with. Only the government's hubs have a name of their own; in China it is the public one
    /// (Azure.Devices SDK for .NET, `IotHubClientOptions.TokenCredentialAuthenticationScopes`: "public cloud or private cloud other than
    /// Azure US Government").
    pub const fn hub_scope(self) -> &'static str {
        match self {
            Self::Public | Self::China => "https://iothubs.azure.net/.default",
            Self::UsGovernment => "https://iothubs.azure.us/.default",
        }
    }
}
