// A Function app that runs the controller, its identity, and the role it needs at the hub: nothing more.
//
//   az deployment group create --resource-group GROUP --template-file main.bicep --parameters hubName=HUB appName=APP

@description('The IoT Hub, in this resource group.')
param hubName string

@description('The name of the Function app; unique in all of Azure.')
param appName string

@description('The name of the storage account that the Functions host keeps its locks in.')
param storageName string = take('iotedgeha${uniqueString(resourceGroup().id, appName)}', 24)

param location string = resourceGroup().location

// As hub.cloud calls the clouds of Azure.
var clouds = {
  AzureCloud: 'public'
  AzureChinaCloud: 'china'
  AzureUSGovernment: 'us_government'
}

resource hub 'Microsoft.Devices/IotHubs@2023-06-30' existing = {
  name: hubName
}

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: storageName
  location: location
  sku: { name: 'Standard_LRS' }
  kind: 'StorageV2'
  properties: {
    allowBlobPublicAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource plan 'Microsoft.Web/serverfarms@2023-12-01' = {
  name: '${appName}-plan'
  location: location
  kind: 'linux'
  sku: { name: 'Y1', tier: 'Dynamic' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2023-12-01' = {
  name: appName
  location: location
  kind: 'functionapp,linux'
  identity: { type: 'SystemAssigned' }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    siteConfig: {
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      // One instance: a second one could only wait for the control lease.
      functionAppScaleLimit: 1
      appSettings: [
        { name: 'FUNCTIONS_EXTENSION_VERSION', value: '~4' }
        { name: 'FUNCTIONS_WORKER_RUNTIME', value: 'custom' }
        {
          name: 'AzureWebJobsStorage'
          value: 'DefaultEndpointsProtocol=https;AccountName=${storage.name};AccountKey=${storage.listKeys().keys[0].value};EndpointSuffix=${environment().suffixes.storage}'
        }
        { name: 'IOTEDGE_HA_CONFIG', value: 'pools.toml' }
        { name: 'IOTEDGE_HA_HUB_CLOUD', value: clouds[environment().name] }
        { name: 'IOTEDGE_HA_HUB_HOST', value: hub.properties.hostName }
        { name: 'IOTEDGE_HA_HUB_IDENTITY_SOURCE', value: 'managed' }
        { name: 'IOTEDGE_HA_CONTROLLER_STATE_DIR', value: '/tmp/iotedge-ha' }
      ]
    }
  }
}

// What the controller does at the hub, and no more: no bulk deletion, no messages, no jobs, no keys.
resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(hub.id, 'iotedge-ha-controller')
  properties: {
    roleName: 'iotedge-ha controller (${hubName})'
    description: 'Keeps the leases of iotedge-ha pools.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.Devices/IotHubs/devices/read'
          'Microsoft.Devices/IotHubs/devices/write'
          'Microsoft.Devices/IotHubs/devices/delete'
          'Microsoft.Devices/IotHubs/twins/read'
          'Microsoft.Devices/IotHubs/twins/write'
          'Microsoft.Devices/IotHubs/directMethods/invoke/action'
          'Microsoft.Devices/IotHubs/configurations/read'
        ]
        notDataActions: []
      }
    ]
  }
}

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hub.id, app.id, role.id)
  scope: hub
  properties: {
    roleDefinitionId: role.id
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
  }
}

output principalId string = app.identity.principalId
